/* rds_wait - commands that wait in Redis; see rds.h */
#include <assert.h>
#include <stdio.h>

#include <hiredis/hiredis.h>

#include "lib/base/clock.h"
#include "lib/base/metrics.h"
#include "lib/coord/rds_inside.h"

static ms earlier(const struct rds *r, ms deadline)
{
    ms most = clock_mono_ms() + r->target.command_ms;

    return deadline < most ? deadline : most;
}

/* Whom CLIENT UNBLOCK names. Without it a wait is ended by force only. */
static enum rds_result learn_id(struct rds *r, ms deadline)
{
    const str words[] = {STR("CLIENT"), STR("ID")};
    redisReply *reply;
    enum rds_result result;

    if (r->client_id != 0)
        return RDS_OK;
    result = rds_ask(r, words, 2, deadline, &reply);
    if (result == RDS_ERR)
        r->client_id = -1;
    if (result != RDS_OK)
        return result == RDS_ERR ? RDS_OK : result;
    r->client_id = reply->type == REDIS_REPLY_INTEGER ? reply->integer : -1;
    freeReplyObject(reply);
    return RDS_OK;
}

enum rds_result rds_wait_begin(struct rds *r, const str *words, size_t n,
                               ms deadline_mono)
{
    enum rds_result result;

    assert(!r->waiting);
    result = rds_be_connected(r, deadline_mono);
    if (result == RDS_OK) {
        ms deadline = earlier(r, deadline_mono);

        result = learn_id(r, deadline);
        if (result == RDS_OK)
            result = rds_send(r, words, n, deadline);
        rds_note_carried(r);
    }
    r->waiting = result == RDS_OK;
    if (result != RDS_OK)
        metrics_add(METRIC_REDIS_ERRORS, 0, 1);
    return result;
}

static enum rds_waited lost(struct rds *r)
{
    r->waiting = false;
    metrics_add(METRIC_REDIS_ERRORS, 0, 1);
    return RDS_WAIT_LOST;
}

/* The wait is over: frees reply. */
static enum rds_waited conclude(struct rds *r, redisReply *reply,
                                struct arena *a, struct rds_reply *out)
{
    struct rds_reply copy;
    bool told = false;

    if (reply->type == REDIS_REPLY_ERROR) {
        rds_refuse(r, STR("wait"), (str){reply->str, reply->len});
    } else {
        told = rds_copy(reply, 0, a, &copy);
        if (!told)
            rds_give(r, RDS_UNKNOWN, "the reply is too large or too deep");
    }
    freeReplyObject(reply);
    if (!told)
        return lost(r);
    r->waiting = false;
    *out = copy;
    return RDS_WAIT_OVER;
}

enum rds_waited rds_wait_look(struct rds *r, struct arena *a,
                              struct rds_reply *out)
{
    void *reply = NULL;

    if (!r->waiting)
        return RDS_WAIT_NONE;
    if (redisBufferRead(r->conn) != REDIS_OK ||
        redisGetReplyFromReader(r->conn, &reply) != REDIS_OK) {
        rds_lose(r, true);
        return lost(r);
    }
    return reply ? conclude(r, reply, a, out) : RDS_WAIT_OUT;
}

int rds_fd(const struct rds *r)
{
    return r->waiting ? r->conn->fd : -1;
}

/* Its reply is on its way afterwards. */
static bool unblock(const struct rds *r, struct rds *by, ms deadline,
                    struct arena *a)
{
    char id[24];
    struct rds_reply reply;

    if (r->client_id < 0)
        return false;
    snprintf(id, sizeof id, "%lld", (long long)r->client_id);
    /* 0, it does not wait: it has got something by now */
    return rds_call(by, (str[]){STR("CLIENT"), STR("UNBLOCK"), str_of(id)}, 3,
                    deadline, a, &reply) == RDS_OK;
}

enum rds_waited rds_wait_end(struct rds *r, struct rds *by, ms deadline_mono,
                             struct arena *a, struct rds_reply *out)
{
    enum rds_waited waited = rds_wait_look(r, a, out);
    redisReply *reply;

    if (waited != RDS_WAIT_OUT)
        return waited;
    deadline_mono = earlier(r, deadline_mono);
    if (unblock(r, by, deadline_mono, a) &&
        rds_receive(r, deadline_mono, &reply) == RDS_OK)
        return conclude(r, reply, a, out);
    rds_drop(r);
    return lost(r);
}
