#!/usr/bin/env python3
"""mutants - each guard of the cluster layer taken away once: the test that
stands for it must fail then.

    mutants.py [NAME...]     without names: all of them (make mutants)

A mutant is a text of a file, found exactly once (blanks count alike, so that
the formatter may wrap it), what stands there instead, and the unit test
program that must fail. A text that is not found, code that does not compile
and a test that fails without any mutant are errors: they would prove nothing.
Works on copies of the tree, with what make has built."""

from __future__ import annotations

import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNIT = "build/release/tests/unit"
COPIES = 2  # of the tree, each with one mutant at a time
LIMIT_S = 120  # of a test program; one that hangs has failed
FAILED = "[  FAILED  ]"


@dataclass
class Mutant:
    name: str
    file: str
    text: str
    instead: str
    killer: str


LUA = "sql-free-schemas/redis/"
COORD = "lib/coord/"
FENCE_OF_LOCK = "math.max(last + 1, us + ahead)"

MUTANTS = [
    # locks in Redis
    Mutant(
        "renewed with any token",
        LUA + "lock_renew.lua",
        "if held[1] ~= ARGV[3] then return 'LOST' end",
        "",
        "test_lock",
    ),
    Mutant(
        "released with any token",
        LUA + "lock_release.lua",
        "if held[1] ~= ARGV[3] then return 'LOST' end",
        "",
        "test_lock",
    ),
    Mutant(
        "same token is a stranger",
        LUA + "lock_acquire.lua",
        "if held[1] == ARGV[3] then",
        "if false then",
        "test_lock",
    ),
    Mutant(
        "granted to everybody",
        LUA + "lock_acquire.lua",
        "if held[1] then",
        "if false then",
        "test_lock",
    ),
    Mutant(
        "fences without time",
        LUA + "lock_acquire.lua",
        FENCE_OF_LOCK,
        "last + 1",
        "test_fence",
    ),
    Mutant(
        "fences of time alone",
        LUA + "lock_acquire.lua",
        FENCE_OF_LOCK,
        "us",
        "test_fence",
    ),
    Mutant(
        "fences that run with the clock, not from the start of the data set",
        LUA + "dataset_open.lua",
        "math.max(0, last - us)",
        "0",
        "test_fence",
    ),
    Mutant(
        "fences above the reservation",
        LUA + "lock_acquire.lua",
        "if not (fence <= max) then return 'CLOSED' end",
        "",
        "test_fence",
    ),
    Mutant(
        "granted in another data set",
        LUA + "lock_acquire.lua",
        "if own[1] ~= ARGV[1] then return 'DATASET' end",
        "",
        "test_fence",
    ),
    Mutant(
        "opened over what was not seen",
        LUA + "dataset_open.lua",
        "if held ~= ARGV[1] then return 0 end",
        "",
        "test_fence",
    ),
    # locks in MongoDB, and in either
    Mutant(
        "renewed and released in MongoDB with any token",
        COORD + "mongo_lock.c",
        'BCON_UTF8(l->token), "]"',
        '"$tok", "]"',
        "test_lock",
    ),
    Mutant(
        "locks of another data set are held",
        COORD + "mongo_lock.c",
        '"$ds", BCON_UTF8(d->id)',
        "BCON_UTF8(d->id), BCON_UTF8(d->id)",
        "test_mongo_lock",
    ),
    Mutant(
        "lower fence after a higher one",
        COORD + "mongo_lock.c",
        '"$gte", "[", "$fence", BCON_INT64(number)',
        '"$gte", "[", "$fence", BCON_INT64(INT64_MAX)',
        "test_mongo_lock",
    ),
    Mutant(
        "number taken when the locks had left",
        COORD + "mongo_lock.c",
        "return now.home == DATASET_MONGO && strcmp(now.id, d->id) == 0",
        "return now.home == DATASET_MONGO || now.home != DATASET_MONGO",
        "test_lock_home",
    ),
    Mutant(
        "second home",
        COORD + "lock.c",
        "return d->id[0] && d->home == dataset_home_of(c->conf);",
        "(void)c; return d->id[0];",
        "test_lock_home",
    ),
    Mutant(
        "grant that nobody wants is kept",
        COORD + "lock.c",
        "if (s.result == LOCK_DONE || s.unsure) give_back",
        "if (0) give_back",
        "test_lock",
    ),
    # the leader
    Mutant(
        "term taken before its end",
        COORD + "leader.c",
        '"$lte", "[", "$$until", "$$NOW"',
        '"$lte", "[", BCON_INT32(0), "$$NOW"',
        "test_leader",
    ),
    Mutant(
        "reserved term taken by another one",
        COORD + "leader.c",
        '"$eq", "[", "$$next", BCON_DOCUMENT(&me)',
        '"$eq", "[", BCON_DOCUMENT(&me), BCON_DOCUMENT(&me)',
        "test_leader",
    ),
    Mutant(
        "renewed and resigned with any token",
        COORD + "leader.c",
        'BCON_INT64(t->term), "tok", BCON_UTF8(t->token));',
        "BCON_INT64(t->term));",
        "test_leader",
    ),
    Mutant(
        "validity without an end",
        COORD + "campaign.c",
        "return k->leading && clock_boot_ms() < k->valid_until;",
        "return k->leading;",
        "test_campaign",
    ),
    Mutant(
        "data set named by an older term",
        COORD + "dataset.c",
        'WHOLE("$term", LEADER_TERM_MAX), BCON_INT64(term)',
        "BCON_INT64(0), BCON_INT64(term)",
        "test_dataset",
    ),
    Mutant(
        "data set named over another one",
        COORD + "dataset.c",
        '"$eq", "[", STORED_ID, BCON_UTF8(seen)',
        '"$eq", "[", BCON_UTF8(seen), BCON_UTF8(seen)',
        "test_dataset",
    ),
    Mutant(
        "opened without a reservation in MongoDB",
        COORD + "keeper.c",
        "if (!can_ask_redis(t->w) || reserve(t) != OK)",
        "t->k->reserved = fence_floor(&t->w->sight) + ahead_us;"
        "if (!can_ask_redis(t->w))",
        "test_keeper",
    ),
    # the fan-out
    Mutant(
        "newer event fanned out before an older one",
        COORD + "fanout.c",
        "enum err err = read_older(b, &full);",
        "enum err err = OK; full = false; (void)read_older;",
        "test_fanout_order",
    ),
    Mutant(
        "newer event fanned out before older ones that were not read",
        COORD + "fanout.c",
        "b->usable = i + 1;",
        "b->usable = b->n;",
        "test_fanout_order",
    ),
    Mutant(
        "deliveries kept by one server only",
        COORD + "fanout_rows.c",
        "mongo_write_majority(r->c, &r->cmd, &reply)",
        "mongo_write(r->c, &r->cmd, &reply, NULL)",
        "test_fanout",
    ),
    Mutant(
        "row that the index did not take keeps its mark",
        COORD + "fanout_rows.c",
        "if (s.left_n > 0) err = unmark(&s);",
        "(void)unmark;",
        "test_fanout_index",
    ),
    Mutant(
        "event deleted while a mark stands that is not true",
        COORD + "fanout_rows.c",
        "for (size_t i = 0; err && i < r->n; i++)",
        "for (size_t i = 0; 0 && i < r->n; i++)",
        "test_fanout_index",
    ),
    Mutant(
        "row that was there before is not told",
        COORD + "fanout_rows.c",
        "if (r->state[i] == FANOUT_ROW_NONE || !marked)",
        "if (r->state[i] != FANOUT_ROW_MADE || !marked)",
        "test_fanout_index",
    ),
    Mutant(
        "Redis asked again after a call in vain",
        COORD + "fanout_rows.c",
        "if (result != INDEX_DONE || r->index_ms <= 0)",
        "if (0)",
        "test_fanout_index",
    ),
    Mutant(
        "young events done twice, by hint and by look",
        COORD + "fanout_filter.c",
        "if (young_ms > 0)",
        "if (0 && young_ms > 0)",
        "test_fanout_hint",
    ),
    Mutant(
        "row marked that the full index did not take",
        COORD + "sweep_index.c",
        "if (seats[i] == INDEX_FULL) p->full = true; else",
        "if (seats[i] == INDEX_FULL) p->full = true;",
        "test_sweep_index",
    ),
    Mutant(
        "who fills the index stops the others",
        COORD + "sweep_index.c",
        "if (err == OK && p->full && !p->away)",
        "if (0 && err == OK && p->full && !p->away)",
        "test_sweep_index",
    ),
    Mutant(
        "rows that were lost come behind new ones",
        COORD + "sweep_index.c",
        """"sort", "{", "ts", BCON_INT32(1)""",
        """"sort", "{", "enq", BCON_INT32(1), "ts", BCON_INT32(1)""",
        "test_sweep_index",
    ),
    Mutant(
        "a full index has no room for what a group waits for",
        LUA + "queue_enqueue.lua",
        "if ARGV[3] == 'now' then room = NEVER end",
        "",
        "test_queue_index",
    ),
    Mutant(
        "row marked of which the index was not told",
        COORD + "sweep_index.c",
        "for (size_t i = 0; i < n && !p->away; i++)",
        "for (size_t i = 0; i < n; i++)",
        "test_sweep_index",
    ),
    Mutant(
        "row marked that has ended",
        COORD + "sweep_index.c",
        """BCON_ARRAY(&p->taken), "}", "open", BCON_BOOL(true), "}", "u\"""",
        """BCON_ARRAY(&p->taken), "}", "}", "u\"""",
        "test_sweep_index",
    ),
    Mutant(
        "row of a live lease may run at once",
        COORD + "index_row.c",
        "(run_at > until ? run_at : until) - now",
        "run_at - now + 0 * until",
        "test_sweep_index",
    ),
    Mutant(
        "strangers' rows stand in the way of the sweep",
        COORD + "sweep_index.c",
        "p->foreign++; take(p, bson_iter_value(&it));",
        "p->foreign++;",
        "test_sweep_index",
    ),
    Mutant(
        "the safety net has rows that run",
        COORD + "sweep_index.c",
        """"lease.until", "{", "$lt", BCON_DATE_TIME(p->now), "}\"""",
        """"lease.until", "{", "$exists", BCON_BOOL(true), "}\"""",
        "test_sweep_overdue",
    ),
    Mutant(
        "the safety net begins anew for ever",
        COORD + "sweep_index.c",
        "run_at == next.run_at ? next.skip + 1 : 1",
        "0",
        "test_sweep_overdue",
    ),
    Mutant(
        "the index spills for ever",
        "workers/duties.c",
        "k->stats.spill ? 0 : SWEEP_YOUNG_MS",
        "SWEEP_YOUNG_MS",
        "test_duties",
    ),
    Mutant(
        "index filled that is not in use",
        "workers/duties.c",
        "return in->w && in->w->state.usable &&",
        "return in->w &&",
        "test_duties",
    ),
    Mutant(
        "event of subscriptions that are not known yet",
        COORD + "fanout.c",
        "if (is_ahead(b, &b->items[i].event))",
        "if (0 && is_ahead(b, &b->items[i].event))",
        "test_fanout",
    ),
    Mutant(
        "figures stored by an older term",
        COORD + "figures.c",
        '"$gt", BCON_INT64(term)',
        '"$gt", BCON_INT64(INT64_MAX)',
        "test_figures",
    ),
    Mutant(
        "deliveries of webhooks that are there cancelled",
        COORD + "sweep.c",
        "err = find_webhooks(c, ids, &there); if (err == OK) take_out(ids, &there);",
        "(void)find_webhooks, (void)take_out, (void)there;",
        "test_sweep",
    ),
    Mutant(
        "dead letter removed that was replayed",
        COORD + "sweep.c",
        '"}", "st", BCON_UTF8(job_state_name(JOB_DEAD)), "}", "limit"',
        '"}", "}", "limit"',
        "test_sweep",
    ),
    # who is there
    Mutant(
        "the dead live on",
        COORD + "view.c",
        "BCON_INT32(VIEW_ALIVE_MS)",
        "BCON_INT32(1 << 30)",
        "test_view",
    ),
    Mutant(
        "any data set is usable",
        COORD + "usable.c",
        "strcmp(held, d->id) == 0",
        "held[0] != 0",
        "test_usable",
    ),
    # the queue
    Mutant(
        "a delivery started while another worker has it",
        COORD + "queue_rows.c",
        'IS_DUE, IS_FREE, "{", "$not"',
        'IS_DUE, "{", "$not"',
        "test_queue",
    ),
    Mutant(
        "a delivery started before its time",
        COORD + "queue_rows.c",
        'IS_DUE, IS_FREE, "{", "$not"',
        'IS_FREE, "{", "$not"',
        "test_queue",
    ),
    Mutant(
        "a test of a webhook started twice",
        COORD + "queue_rows.c",
        'IS_SPENT, IS_LOST, "]", "}", "]", "}", "]"',
        'IS_SPENT, "]", "}", "]", "}", "]"',
        "test_queue_recover",
    ),
    Mutant(
        "a delivery started without end",
        COORD + "queue_rows.c",
        'IS_SPENT, IS_LOST, "]", "}", "]", "}", "]"',
        'IS_LOST, "]", "}", "]", "}", "]"',
        "test_queue_recover",
    ),
    Mutant(
        "finished with any token",
        COORD + "queue_rows.c",
        '"$lease.tok",\n                BCON_UTF8(m->token.p)',
        '"$lease.tok",\n                "$lease.tok"',
        "test_queue",
    ),
    Mutant(
        "a row that gets free just then is taken as ended",
        COORD + "queue_rows.c",
        "s->wait_ms <= 0 && !is_spent(&as)",
        "s->wait_ms < 0 && !is_spent(&as) && false",
        "test_queue",
    ),
    Mutant(
        "a repeated finish is late",
        COORD + "queue_rows.c",
        'if (err == OK && n == 0) {\n        err = queue_find_row',
        'if (err == OK && n == 0)\n        return FINISH_LATE;\n    if (err == OK && n == 0) {\n        err = queue_find_row',
        "test_queue",
    ),
    Mutant(
        "a second death is no poison",
        COORD + "queue_recover.c",
        'queue_number(row, "stalls") + 1 >= JOB_STALLS_MAX',
        'false',
        "test_queue_recover",
    ),
    Mutant(
        "a younger row starts beside an older one",
        COORD + "queue.c",
        'if (!row->ordered)\n        return TURN_GOT;',
        'return TURN_GOT;',
        "test_queue_order",
    ),
    Mutant(
        "a replayed row starts beside a younger one",
        COORD + "queue_order.c",
        'job->replays > 0',
        'false',
        "test_queue_order",
    ),
    Mutant(
        "unknown webhooks are deleted ones",
        COORD + "queue.c",
        'enum err err = webhook_get(c, job->subscriber, &row);',
        'enum err err = webhook_get(c, job->subscriber, &row);\n\n    err = err ? err : ERR_WEBHOOK_NOT_FOUND;',
        "test_queue_recover",
    ),
    Mutant(
        "no cap in flight",
        COORD + "mongo_charge.c",
        '"$min", "[", BCON_INT64(t->cap), "$pc"',
        '"$min", "[", BCON_INT64(1000), "$pc"',
        "test_queue_limit",
    ),
    Mutant(
        "an open breaker without a cap of its own",
        COORD + "mongo_charge.c",
        '"$min", "[", BCON_INT64(t->cap), "$pc"',
        '"$min", "[", BCON_INT64(t->cap)',
        "test_queue_limit",
    ),
    Mutant(
        "a hold that holds nobody",
        COORD + "mongo_charge.c",
        '"$and", "[", "{", "$lte", "[", "$hold", "$$NOW", "]", "}",',
        '"$and", "[",',
        "test_queue_limit",
    ),
    Mutant(
        "half a window",
        COORD + "mongo_charge.c",
        '"$$at", BCON_INT64(t->window_ms)',
        '"$$at", BCON_INT64(t->window_ms / 2)',
        "test_queue_limit",
    ),
    Mutant(
        "a repeated charge is a second one",
        COORD + "mongo_charge.c",
        '"{", "case", HAS_TOKEN, "then", "$$ROOT", "}",',
        '',
        "test_queue",
    ),
    Mutant(
        "settled by any token",
        COORD + "mongo_charge.c",
        'BCON_UTF8(id), "fl.tok", BCON_UTF8(token.p), "}", "u"',
        'BCON_UTF8(id), "}", "u"',
        "test_queue",
    ),
    Mutant(
        "grants of what did not run stay",
        COORD + "mongo_charge.c",
        'if (s->back)\n        append_back(set, token);',
        '',
        "test_queue_recover",
    ),
    Mutant(
        "the charge of a row that was lost stays",
        COORD + "queue_turns.c",
        "if (take_back(c, t, job) != OK)",
        "if (false)",
        "test_queue",
    ),
    Mutant(
        "only the first row of a charge is known",
        COORD + "mongo_charge.c",
        "i < job->others_n",
        "i < 0",
        "test_queue",
    ),
    Mutant(
        "rows with order stand for others",
        COORD + "mongo_queue.c",
        "d->first.ordered || one->ordered ||",
        "",
        "test_mongo_queue",
    ),
    # the queue through Redis
    Mutant(
        "a row that waits is told to have ended",
        COORD + "queue_index.c",
        "case LEFT_WAIT:\n        return wait_for(c, t, job, why);",
        "case LEFT_WAIT:\n        (void)wait_for;\n        break;",
        "test_queue_index",
    ),
    Mutant(
        "a lease that somebody has is waited for to its end",
        COORD + "queue_index.c",
        "why->leased && wait > LEASED_MOST_MS",
        "false",
        "test_queue_index",
    ),
    Mutant(
        "an older row that the index lacks is not listed",
        COORD + "queue_index.c",
        "if (older)",
        "if (false)",
        "test_queue_index",
    ),
    Mutant(
        "any id of the index is a job",
        COORD + "queue_index.c",
        "if (!queue_is_id(got.id))",
        "if (got.id.n > 1000 && !queue_is_id(got.id))",
        "test_queue_index",
    ),
    Mutant(
        "the index is believed whose row it is",
        COORD + "queue.c",
        "if (!is_what(row, job))",
        "if (!row->lim.p && !is_what(row, job))",
        "test_queue_index",
    ),
    Mutant(
        "a webhook that the index names decides about a row",
        COORD + "queue_index.c",
        'if (!str_eq(queue_text(row, "lim"), job->lim) ||\n        !str_eq(queue_text(row, "g"), job->group))',
        "if (false)",
        "test_queue_index",
    ),
    Mutant(
        "a changed limit is not told",
        COORD + "queue_index.c",
        "(t->limit != limit || t->window_ms != window)",
        "(t->limit < 0 && t->window_ms != window)",
        "test_queue_index",
    ),
    Mutant(
        "a webhook that was enabled just now stays held",
        COORD + "queue_index.c",
        "&& w.enabled)",
        "&& !w.enabled)",
        "test_queue_index",
    ),
    Mutant(
        "what is to be told is forgotten for the next",
        COORD + "queue_index.c",
        "if (k->has_told)\n        queue_tell(c, k);",
        "",
        "test_queue_told",
    ),
    Mutant(
        "a finish that was settled is counted again",
        COORD + "queue_index.c",
        "strcmp(k->told.id, told.id) == 0)\n        return OK;",
        'strcmp(k->told.id, "") == 0)\n        return OK;',
        "test_queue",
    ),
    Mutant(
        "a listed row that waits again is not listed any more",
        COORD + "queue_rows.c",
        "cl->dataset[0]",
        "false",
        "test_queue_told",
    ),
    Mutant(
        "the grant of a worker that died is given back",
        COORD + "queue_recover.c",
        "r = died ? index_recover_ran",
        "r = died && !token.p ? index_recover_ran",
        "test_queue_recover",
    ),
    Mutant(
        "a lost claim is left in flight",
        COORD + "queue_recover.c",
        "for (int i = 0; i < TRIES && err == OK",
        "for (int i = 0; i < 0 * TRIES && err == OK",
        "test_queue_recover",
    ),
    Mutant(
        "totals are written with each finish",
        COORD + "tally.c",
        "clock_mono_ms() - t->flushed_mono >= EVERY_MS",
        "EVERY_MS",
        "test_queue_told",
    ),
    Mutant(
        "totals that could not be written are lost",
        COORD + "tally.c",
        "if (err && !queue_is_refused(c)) {\n        ctx_forgive(c);",
        "if (err && !queue_is_refused(c)) {\n        t->n = 0;\n        ctx_forgive(c);",
        "test_queue_told",
    ),
    # workers: what dead children held
    Mutant(
        "token of a dead child is forgotten",
        COORD + "board.c",
        "if (holds(s)) bury(b, p, s);",
        "",
        "test_board",
    ),
    Mutant(
        "old words allow claims",
        COORD + "board.c",
        "clock_boot_ms() - out->seen_boot <= BOARD_FRESH_MS;",
        "true;",
        "test_board",
    ),
    Mutant(
        "draining ends",
        COORD + "board.c",
        "if (w->draining) board_drain(b);",
        "atomic_store(&b->words.draining, w->draining);",
        "test_board",
    ),
    Mutant(
        "one turn is given to all",
        COORD + "board.c",
        "due <= now_boot && atomic_compare_exchange_strong(&b->next_look, &due,"
        " now_boot + every)",
        "due <= now_boot",
        "test_board_wakes",
    ),
    Mutant(
        "given back only once",
        "workers/leftovers.c",
        "left->done < again_n",
        "false",
        "test_leftovers",
    ),
    Mutant(
        "not given back is done with",
        "workers/leftovers.c",
        "if (!give_back(l, c, dead)) {",
        "if (give_back(l, c, dead), false) {",
        "test_leftovers",
    ),
    Mutant(
        "death is not told",
        "lib/run/proc.c",
        "if (t->o->on_death) t->o->on_death(t->o->arg, i);",
        "",
        "test_proc",
    ),
    Mutant(
        "second signal is kept back",
        "lib/run/proc.c",
        "t->kill_at = now + t->o->second_ms; signal_all(t, SIGTERM);",
        "t->kill_at = now + t->o->second_ms;",
        "test_proc",
    ),
    Mutant(
        "grant is used however late",
        "workers/deliver_send.c",
        "if (is_too_late(cl)) return SEND_TOO_LATE;",
        "",
        "test_deliver_send",
    ),
    Mutant(
        "Retry-After without a ceiling",
        "workers/deliver_judge.c",
        "return wait > JUDGE_HOLD_MAX_MS ? JUDGE_HOLD_MAX_MS : wait;",
        "return wait;",
        "test_deliver_judge",
    ),
    Mutant(
        "sessions of the dead are not found",
        "lib/data/mongo_sessions.c",
        "if (state == OPEN) atomic_store(&own[i].state, LEFT);",
        "if (state == OPEN) atomic_store(&own[i].state, FREE);",
        "test_mongo_sessions",
    ),
    Mutant(
        "sessions of the dead are ended once",
        "lib/data/mongo_sessions.c",
        "TURNS = 2,",
        "TURNS = 1,",
        "test_mongo_sessions",
    ),
    Mutant(
        "sessions of the living are ended, too",
        "lib/data/mongo_sessions.c",
        "if (atomic_load(&own[i].state) != LEFT) continue;",
        "if (atomic_load(&own[i].state) == FREE) continue;",
        "test_mongo_sessions",
    ),
    # the index of the queue in Redis
    Mutant(
        "index finished with any token",
        LUA + "queue_step.lua",
        "if j[1] ~= token then return 'LOST' end",
        "",
        "test_redis_queue",
    ),
    Mutant(
        "index of another data set used",
        LUA + "queue.inc.lua",
        "if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 'DATASET' end",
        "",
        "test_redis_queue",
    ),
    Mutant(
        "index in flight over the cap",
        LUA + "queue_step.lua",
        "s.n > (s.own and s.own < cap and s.own or cap) or not grant(s)",
        "not grant(s)",
        "test_redis_queue",
    ),
    Mutant(
        "index seats one at its cap",
        LUA + "queue.inc.lua",
        "return s.n >= (s.own and s.own < cap and s.own or cap)",
        "return false",
        "test_redis_queue_random",
    ),
    Mutant(
        "index group not held in flight",
        LUA + "queue_step.lua",
        "if group ~= s.lim then at('ZADD', HOLD, ends, 'g' .. group) end",
        "",
        "test_redis_queue",
    ),
    Mutant(
        "index group waits by time",
        LUA + "queue.inc.lua",
        "at('ZADD', W .. j[2], num(j[4], 0), id)",
        "at('ZADD', W .. j[2], j[3], id)",
        "test_redis_queue",
    ),
    Mutant(
        "index delayed head blocks nobody",
        LUA + "queue_enqueue.lua",
        "at('ZADD', HOLD, 'GT', now + delay, 'g' .. group)",
        "",
        "test_redis_queue",
    ),
    Mutant(
        "index forgets the failed head",
        LUA + "queue.inc.lua",
        "if delay > 0 then at('ZADD', HOLD, now + delay, 'g' .. j[2]) end",
        "",
        "test_redis_queue",
    ),
    Mutant(
        "index limit not looked at",
        LUA + "queue_step.lua",
        "elseif first + win >= now then",
        "elseif false then",
        "test_redis_queue",
    ),
    Mutant(
        "index charges what did not run",
        LUA + "queue_step.lua",
        "if j and (verdict == 'back' or verdict == 'gone') then refund(j, s) end",
        "",
        "test_redis_queue",
    ),
    Mutant(
        "index gives grants of the dead back",
        LUA + "queue_recover.lua",
        "if ARGV[4] ~= '1' then refund(j, s) end",
        "refund(j, s)",
        "test_redis_queue",
    ),
    Mutant(
        "index without the limit over all",
        LUA + "queue_step.lua",
        "if is_stopped and not s.x and is_stopped() then return nil end",
        "",
        "test_redis_queue",
    ),
    Mutant(
        "index breaker stays closed",
        LUA + "queue_step.lua",
        "if s.fails >= 10 then",
        "if false then",
        "test_redis_queue",
    ),
    Mutant(
        "index hold not seen",
        LUA + "queue.inc.lua",
        "    if s.held > now then\n        at('ZADD'",
        "    if false then\n        at('ZADD'",
        "test_redis_queue",
    ),
    Mutant(
        "index classes alike",
        LUA + "queue.inc.lua",
        "at('ZADD', R, class * 2^42 + ls, s.lim)",
        "at('ZADD', R, ls, s.lim)",
        "test_redis_queue",
    ),
    Mutant(
        "index turns not counted",
        LUA + "queue_step.lua",
        "    s.ls = stamp\n",
        "",
        "test_redis_queue",
    ),
    Mutant(
        "index leases never end",
        LUA + "queue_step.lua",
        "list('ZRANGE', ACT, '-inf', now, 'BYSCORE', 'LIMIT', 0, 16)",
        "{}",
        "test_redis_queue",
    ),
    Mutant(
        "index takes fanout's rows while it spills",
        LUA + "queue_enqueue.lua",
        "if spill and ARGV[3] == 'fanout' then",
        "if false then",
        "test_redis_queue",
    ),
    Mutant(
        "index wakes no second sleeper",
        LUA + "queue_step.lua",
        "if (ARGV[6] == '1' or grew) and at('ZCARD', R) > 0 or soon then mark() end",
        "",
        "test_redis_queue",
    ),
    Mutant(
        "index keeps a stranger's key",
        LUA + "queue.inc.lua",
        "        redis.call('UNLINK', key)\n",
        "",
        "test_redis_queue_foreign",
    ),
    Mutant(
        "index counts a lost flight",
        LUA + "queue.inc.lua",
        "    if foreign > strange then recount(s) end\n",
        "",
        "test_redis_queue_foreign",
    ),
    Mutant(
        "index leaves a lost job out",
        LUA + "queue_enqueue.lua",
        "    place(id, j, s, delay)\nend\n\n-- How many",
        "end\n\n-- How many",
        "test_redis_queue_foreign",
    ),
    Mutant(
        "index places a known job again",
        LUA + "queue_enqueue.lua",
        "if (j[5] and at('ZSCORE', ACT, id)) or at('ZSCORE', DLY, id) or\n        at('ZSCORE', W .. group, id) then",
        "if false then",
        "test_redis_queue",
    ),
    Mutant(
        "index stays full of nothing",
        LUA + "queue_enqueue.lua",
        "at('EXISTS', R, ACT, DLY, HOLD) == 0",
        "false",
        "test_redis_queue_mend",
    ),
    Mutant(
        "index waits for a clock that was ahead",
        LUA + "queue_enqueue.lua",
        "if delay == '0' and at('ZREM', DLY, id) == 1 then",
        "if false then",
        "test_redis_queue_mend",
    ),
    Mutant(
        "index believes any hold",
        LUA + "queue.inc.lua",
        "if s.held > now + longest(s, v[6]) then s.held = 0 end",
        "",
        "test_redis_queue_mend",
    ),
    Mutant(
        "index takes halves for numbers",
        LUA + "queue.inc.lua",
        "return n - n % 1 end",
        "return n end",
        "test_redis_queue_mend",
    ),
    Mutant(
        "index lets a grant end what a receiver asked for",
        LUA + "queue.inc.lua",
        "elseif kind == 'limit' then",
        "else",
        "test_redis_queue",
    ),
    Mutant(
        "a finish that is not told never ran",
        COORD + "board.c",
        "out->ran = s == BUSY || s == UNTOLD;",
        "out->ran = s == BUSY;",
        "test_queue_told",
    ),
    Mutant(
        "a claim keeps to itself when the next is due",
        COORD + "queue_index.c",
        "t->out->wait_ms = due;",
        "",
        "test_queue_index",
    ),
    Mutant(
        "index seats a new head late",
        LUA + "queue_enqueue.lua",
        "if s.all or s.r ~= '1' or new[list('ZRANGE', W .. lim, '0', '0')[1]] then",
        "if s.all or s.r ~= '1' then",
        "test_redis_queue",
    ),
    # events told beside the requests
    Mutant(
        "index used while Redis is away",
        "fcgi-app/cluster.c",
        "k->redis_seen && k->usable &&",
        "",
        "test_cluster",
    ),
    Mutant(
        "hints for a Redis that is away",
        "fcgi-app/hints.c",
        "if (c->index[0]) hint_push(c, ids, n);",
        "hint_push(c, ids, n);",
        "test_hints",
    ),
    Mutant(
        "hints beyond the room for them",
        "fcgi-app/hints.c",
        "if (n > room) n = room;",
        "",
        "test_hints",
    ),
    Mutant(
        "hint of a change that was none",
        "lib/data/change.c",
        "if (err == OK && w.at_row) note_committed(c, &w);",
        "if (err == OK) note_committed(c, &w);",
        "test_change_committed",
    ),
    # waits in Redis
    Mutant(
        "a wait that may not be ended stays out",
        COORD + "rds_wait.c",
        "rds_drop(r); return lost(r);",
        "return lost(r);",
        "test_rds_wait",
    ),
    Mutant(
        "a wait is ended without a look at what it has got",
        COORD + "rds_wait.c",
        "enum rds_waited waited = rds_wait_look(r, a, out);",
        "enum rds_waited waited = RDS_WAIT_OUT; rds_drop(r);",
        "test_rds_wait",
    ),
    Mutant(
        "a wait that is overdue is waited for",
        "workers/waiter.c",
        "if (waiter_fd(w) >= 0 && now > w->late_boot) give_up(w);",
        "",
        "test_waiter",
    ),
    Mutant(
        "a stranger's key stops every pop",
        "workers/waiter.c",
        'if (rds_refused_with(w->rds, STR("WRONGTYPE"))) remove_foreign(w, c);',
        "",
        "test_waiter",
    ),
    Mutant(
        "the marker popped by a busy worker is kept",
        "workers/deliver.c",
        "board_poke(d->w.board, 1); leave_marker(d);",
        "board_poke(d->w.board, 1);",
        "test_deliver",
    ),
    Mutant(
        "the marker popped by a worker that may not claim is kept",
        "workers/deliver.c",
        "return; } leave_marker(d);",
        "return; }",
        "test_deliver",
    ),
    Mutant(
        "a worker that ends tells nothing",
        "workers/deliver.c",
        "settle(d, true);",
        "",
        "test_deliver",
    ),
    Mutant(
        "a finish that is not told is not held",
        "workers/deliver.c",
        "if (d->k.has_told && strcmp(d->k.told.token, token) == 0)",
        "if (false)",
        "test_deliver",
    ),
    Mutant(
        "the second token of a dead child is not known",
        COORD + "board.c",
        "bury(b, &b->untold[slot], UNTOLD);",
        "{ }",
        "test_board",
    ),
    Mutant(
        "sleepers are not woken for an earlier time",
        COORD + "board.c",
        "arm(b); return;",
        "return;",
        "test_board_wakes",
    ),
    Mutant(
        "hints grow without end",
        COORD + "hint.c",
        "if (length <= HINT_MOST) return;",
        "(void)length; return;",
        "test_hint",
    ),
]


class Broken(Exception):
    """A mutant that cannot be tried."""


def mutate(text: str, mutant: Mutant) -> str:
    pattern = r"\s*".join(
        re.escape(part) for part in re.findall(r"\w+|[^\w\s]", mutant.text)
    )
    found = list(re.finditer(pattern, text))
    if len(found) != 1:
        raise Broken(f"{mutant.file}: found {len(found)} times: {mutant.text}")
    (match,) = found
    return text[: match.start()] + mutant.instead + text[match.end() :]


class Tree:
    """A copy of the sources and of the release build, times kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {k: v for k, v in os.environ.items() if k not in ("CI", "MODE")}
        self.env.pop("MAKEFLAGS", None)
        self.env["ROOT"] = str(folder)
        listed = subprocess.check_output(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True
        )
        for name in listed.splitlines():
            if (ROOT / name).is_file():
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target, follow_symlinks=False)
        shutil.copytree(ROOT / "build/release", folder / "build/release", symlinks=True)
        (folder / "build/venv").symlink_to((ROOT / "build/venv").resolve())

    def build(self, killer: str) -> None:
        argv = ["make", "-s", f"{UNIT}/{killer}"]
        done = subprocess.run(
            argv, cwd=self.folder, env=self.env, capture_output=True, text=True
        )
        if done.returncode:
            raise Broken(f"make: {done.stdout[-2000:]}{done.stderr[-2000:]}")

    def fails(self, killer: str) -> bool:
        """Ends with the first test that fails."""
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            process = subprocess.Popen(
                [self.folder / UNIT / killer],
                cwd=scratch,
                env=self.env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            late = threading.Timer(LIMIT_S, end, [process])
            late.start()
            passed = 0
            for line in process.stdout:
                passed += "[       OK ]" in line
                if FAILED in line:
                    break
            else:
                code = process.wait()
                late.cancel()
                return code != 0 or passed == 0
            late.cancel()
            end(process)
            return True

    def attempt(self, mutant: Mutant) -> bool:
        path = self.folder / mutant.file
        text = path.read_text()
        try:
            path.write_text(mutate(text, mutant))
            self.build(mutant.killer)
            return self.fails(mutant.killer)
        finally:
            path.write_text(text)


def end(process: subprocess.Popen) -> None:
    """With the servers of its tests, which are in its session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


class Run:
    def __init__(self, folder: Path) -> None:
        self.trees: queue.SimpleQueue[Tree] = queue.SimpleQueue()
        for i in range(COPIES):
            self.trees.put(Tree(folder / str(i)))

    def tell(self, begun: float, word: str, name: str, why: str = "") -> bool:
        print(f"{time.monotonic() - begun:6.1f} s  {word:8}  {name}  {why}", flush=True)
        return word in ("killed", "sound")

    def sound(self, killer: str) -> bool:
        """It passes as long as nothing is changed."""
        tree, begun = self.trees.get(), time.monotonic()
        try:
            tree.build(killer)
            if tree.fails(killer):
                return self.tell(begun, "FAILS", killer, "without any mutant")
            return self.tell(begun, "sound", killer)
        except Broken as error:
            return self.tell(begun, "BROKEN", killer, str(error))
        finally:
            self.trees.put(tree)

    def kill(self, mutant: Mutant) -> bool:
        tree, begun = self.trees.get(), time.monotonic()
        try:
            killed = tree.attempt(mutant)
            return self.tell(begun, "killed" if killed else "LIVES", mutant.name)
        except Broken as error:
            return self.tell(begun, "BROKEN", mutant.name, str(error))
        finally:
            self.trees.put(tree)


def main(names: list[str]) -> int:
    chosen = [m for m in MUTANTS if not names or m.name in names]
    if len(chosen) != (len(set(names)) or len(MUTANTS)):
        sys.exit("no such mutant; there are:\n" + "\n".join(m.name for m in MUTANTS))
    folder = Path(tempfile.mkdtemp(prefix="sfm"))
    try:
        run = Run(folder)
        with ThreadPoolExecutor(COPIES) as pool:
            sound = list(pool.map(run.sound, sorted({m.killer for m in chosen})))
            killed = list(pool.map(run.kill, chosen)) if all(sound) else [False]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{sum(killed)} passed, {len(killed) - sum(killed)} failed")
    return 0 if all(killed) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
