# One makefile, one level: `make help` lists the targets. MODE chooses the
# tree under build/: release (default), debug, san (ASan+UBSan), fuzz (clang).

MODE ?= release
B := build/$(MODE)
CC := gcc
PY := build/venv/bin/python

PKGS := libmongoc-1.0 libbson-1.0 hiredis json-c
INC := -I. $(patsubst -I%,-isystem %,$(shell pkg-config --cflags-only-I $(PKGS) 2>/dev/null))
LIBS_DATA := $(shell pkg-config --libs libmongoc-1.0 libbson-1.0 2>/dev/null) -lpcre2-8
LIBS_COORD := -lhiredis
LIBS_BASE := -lcrypto -lm
LIBS_FCGI := -lfcgi -ljwt
LIBS_RUN := -lcurl

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion \
	-Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition \
	-Wwrite-strings -Wcast-qual -Wpointer-arith -Wundef -Wvla -Walloca \
	-Wformat=2 -Wnull-dereference -Wdouble-promotion -Wimplicit-fallthrough \
	-Wredundant-decls -Wframe-larger-than=16384
GCC_WARN := -Wcast-align=strict -Wlogical-op -Wduplicated-cond \
	-Wduplicated-branches
HARD := -fno-common -fstack-protector-strong -fstack-clash-protection -fPIE
LINK := -pie -Wl,-z,relro,-z,now -pthread

ifeq ($(MODE),release)
OPT := -O2 -g -D_FORTIFY_SOURCE=2
else ifeq ($(MODE),debug)
OPT := -O0 -g3 -DARENA_POISON
else ifeq ($(MODE),san)
OPT := -O1 -g -DARENA_POISON -fno-omit-frame-pointer \
	-fsanitize=address,undefined -fno-sanitize-recover=all
LINK += -fsanitize=address,undefined
else ifeq ($(MODE),fuzz)
CC := clang-14
OPT := -O1 -g -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=all
LINK += -fsanitize=address,undefined
else
$(error MODE is release, debug, san or fuzz)
endif

ifneq ($(filter clang%,$(CC)),)
CFLAGS := -std=c11 -D_GNU_SOURCE $(OPT) $(WARN) $(HARD) $(INC) -pthread
else
CFLAGS := -std=c11 -D_GNU_SOURCE $(OPT) $(WARN) $(GCC_WARN) $(HARD) $(INC) -pthread
endif
# tests may hold large buffers on the stack
$(B)/obj/tests/%.o: CFLAGS += -Wno-frame-larger-than

ifdef CI
CFLAGS += -Werror
endif

objs = $(patsubst %.c,$(B)/obj/%.o,$(wildcard $(1)/*.c))
LIBS := $(B)/libcoord.a $(B)/librun.a $(B)/libdata.a $(B)/libbase.a
UNIT := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/test_*.c))
PLATFORM := $(patsubst %.c,$(B)/%,$(wildcard tests/platform/test_*.c))
BENCH := $(B)/tests/bench/trivial $(B)/tests/bench/loop \
	$(B)/tests/bench/lock_bench $(B)/tests/bench/queue_bench \
	$(B)/tests/bench/index_bench $(B)/tests/bench/wake_bench
FUZZ := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))

.SECONDARY:
.PHONY: all setup run test lint format check mutants cases system acceptance \
	frontends platform san fuzz bench clean help

PROGRAMS := fcgi-app workers sqlfree
all: $(PROGRAMS:%=$(B)/%) ## build the programs
	@for p in $(PROGRAMS); do ln -sf $(MODE)/$$p build/$$p; done

setup: ## install what build, run and test need (a no-op when it is there)
	@conf/dev/setup.sh

run: setup ## everything on http://localhost:8080; WEB=lighttpd, PORT=n
	@$(MAKE) --no-print-directory -s all
	@exec conf/dev/run.sh

test: setup ## lint, unit, cases, system and front-end tests
	@conf/dev/test.sh

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC $<"
	@$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

# the Lua scripts as C, for the one file that includes them
$(B)/gen/lua_rows.h: sql-free-schemas/embed.sh $(wildcard sql-free-schemas/redis/*.lua)
	@mkdir -p $(@D)
	@$< >$@.new && mv $@.new $@
$(B)/obj/lib/coord/rds_script.o: $(B)/gen/lua_rows.h
$(B)/obj/lib/coord/rds_script.o: CFLAGS += -I$(B)

# the collections as C, in the same way
$(B)/gen/schema_rows.h: sql-free-schemas/embed_mongo.sh $(wildcard sql-free-schemas/mongo/*.json)
	@mkdir -p $(@D)
	@$< >$@.new && mv $@.new $@
$(B)/obj/lib/data/schema.o: $(B)/gen/schema_rows.h
$(B)/obj/lib/data/schema.o: CFLAGS += -I$(B)

$(B)/libbase.a: $(call objs,lib/base)
$(B)/libdata.a: $(call objs,lib/data)
$(B)/libcoord.a: $(call objs,lib/coord)
$(B)/librun.a: $(call objs,lib/run)
$(B)/lib%.a:
	@rm -f $@
	@ar rcs $@ $^

$(B)/fcgi-app: $(call objs,fcgi-app) $(LIBS)
	@echo "  LD $@"
	@mkdir -p $(@D); $(CC) $(LINK) -o $@ $^ $(LIBS_FCGI) $(LIBS_RUN) $(LIBS_COORD) $(LIBS_DATA) $(LIBS_BASE)

$(B)/workers: $(call objs,workers) $(LIBS)
	@echo "  LD $@"
	@mkdir -p $(@D); $(CC) $(LINK) -o $@ $^ $(LIBS_RUN) $(LIBS_COORD) $(LIBS_DATA) $(LIBS_BASE)

$(B)/sqlfree: $(call objs,cli) $(LIBS)
	@echo "  LD $@"
	@mkdir -p $(@D); $(CC) $(LINK) -o $@ $^ $(LIBS_RUN) $(LIBS_COORD) $(LIBS_DATA) $(LIBS_BASE)

$(B)/tests/unit/test_%: $(B)/obj/tests/unit/test_%.o \
		$(B)/obj/tests/unit/support.o $(B)/obj/tests/unit/redis.o \
		$(B)/obj/tests/unit/mongod.o \
		$(B)/obj/tests/unit/coord.o $(B)/obj/tests/unit/rig.o \
		$(B)/obj/tests/unit/home.o $(LIBS)
	@mkdir -p $(@D); $(CC) $(LINK) -o $@ $^ -lcmocka $(LIBS_RUN) $(LIBS_COORD) $(LIBS_DATA) $(LIBS_BASE)

$(B)/tests/unit/test_match_mongod: $(B)/obj/tests/unit/gen_bson.o \
	$(B)/obj/tests/unit/gen_filter.o

$(B)/tests/platform/test_%: $(B)/obj/tests/platform/test_%.o \
		$(B)/obj/tests/unit/support.o $(LIBS)
	@mkdir -p $(@D); $(CC) $(LINK) -o $@ $^ -lcmocka $(LIBS_FCGI) \
		$(LIBS_RUN) $(LIBS_COORD) $(LIBS_DATA) $(LIBS_BASE)

$(B)/tests/fuzz/fuzz_%: $(B)/obj/tests/fuzz/fuzz_%.o $(LIBS) \
		$(if $(filter fuzz,$(MODE)),,$(B)/obj/tests/fuzz/replay.o)
	@mkdir -p $(@D); $(CC) $(LINK) $(if $(filter fuzz,$(MODE)),-fsanitize=fuzzer) -o $@ $^ \
		$(LIBS_RUN) $(LIBS_COORD) $(LIBS_DATA) $(LIBS_BASE)

$(B)/tests/bench/%_bench: $(B)/obj/tests/bench/%_bench.o \
		$(B)/obj/tests/bench/harness.o $(LIBS)
	@mkdir -p $(@D); $(CC) $(LINK) -o $@ $^ $(LIBS_RUN) $(LIBS_COORD) $(LIBS_DATA) $(LIBS_BASE)

$(B)/tests/bench/%: $(B)/obj/tests/bench/%.o $(B)/libbase.a
	@mkdir -p $(@D); $(CC) $(LINK) -o $@ $^ $(LIBS_FCGI) $(LIBS_DATA)

# preloaded into programs of any kind, so never with a sanitizer
CLOCK := $(B)/tests/clock.so
$(CLOCK): tests/toxics/clock.c
	@echo "  LD $@"
	@mkdir -p $(@D); $(CC) $(filter-out -fsanitize% -fno-sanitize% -fPIE,$(CFLAGS)) \
		-fPIC -shared -Wl,-z,now -o $@ $<

# outgoing requests by hand
POST := $(B)/tests/post
$(POST): $(B)/obj/tests/toxics/post.o $(LIBS)
	@mkdir -p $(@D); $(CC) $(LINK) -o $@ $^ $(LIBS_RUN) $(LIBS_BASE)

check: $(UNIT) ## unit tests (MODE=san for the sanitizer run)
	@tests/unit/run.sh $(UNIT)

mutants: all $(UNIT) ## each guard of lib/coord taken away: its test must fail
	@$(PY) tests/mutations/mutants.py

export MODE
# two processes, each with servers of its own: most tests wait most of the time
SHARED := -n 2 --dist loadfile
cases: all ## the .case files through nginx and lighttpd
	@$(PY) -m pytest -q -p no:cacheprovider $(SHARED) tests/system/test_cases.py

system: all $(CLOCK) $(POST) ## servers killed, hung, cut: pytest on real ones
	@$(PY) -m pytest -q -p no:cacheprovider $(SHARED) tests/system --ignore tests/system/test_cases.py

acceptance: all ## ten instances and 100,000 deliveries; DELIVERIES=n
	@DELIVERIES=$${DELIVERIES:-100000} $(PY) -m pytest -q -s \
		-p no:cacheprovider tests/system/test_ten_instances.py

frontends: all ## what web servers make of odd requests
	@$(PY) -m pytest -q -p no:cacheprovider tests/frontends

platform: all $(PLATFORM) ## behaviours of libraries and servers we lean on
	@tests/unit/run.sh $(PLATFORM)
	@$(PY) -m pytest -q -p no:cacheprovider tests/platform

bullmq: ## what the benchmark holds deliveries against, for that alone
	@tests/bench/bullmq/install.sh build/bullmq

bench: setup bullmq ## how fast, as ratios; BENCH_ROWS, BENCH_ROUNDS, BENCH_SECONDS
	@$(MAKE) --no-print-directory -s all $(BENCH)
	@$(PY) tests/bench/bench.py

san: ## units and cases under ASan and UBSan
	@$(MAKE) --no-print-directory MODE=san check
	@$(MAKE) --no-print-directory MODE=san cases

FUZZ_SECONDS ?= 60
fuzz: ## each fuzz target for FUZZ_SECONDS
	@$(MAKE) --no-print-directory MODE=fuzz fuzz-build
	@for f in $(wildcard tests/fuzz/fuzz_*.c); do n=$$(basename $$f .c); \
		mkdir -p build/corpus/$$n; \
		build/fuzz/tests/fuzz/$$n -max_total_time=$(FUZZ_SECONDS) \
		-print_final_stats=1 build/corpus/$$n tests/fuzz/corpus/$$n || exit 1; \
		done
fuzz-replay: ## the fuzz corpora once, under the sanitizers
	@$(MAKE) --no-print-directory MODE=san fuzz-build
	@for f in $(wildcard tests/fuzz/fuzz_*.c); do n=$$(basename $$f .c); \
		build/san/tests/fuzz/$$n tests/fuzz/corpus/$$n/* || exit 1; \
		done
.PHONY: fuzz-build fuzz-replay
fuzz-build: $(FUZZ)

lint: ## the house rules, checked by programs
	@for l in tests/lint/*.sh; do $$l || exit 1; done; echo "lint: clean"

format: ## clang-format over all C
	@git ls-files -co --exclude-standard '*.c' '*.h' | xargs clang-format-14 -i

clean: ## remove what was built (not the servers' data)
	@rm -rf build/release build/debug build/san build/fuzz \
		$(PROGRAMS:%=build/%)

help:
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

-include $(shell find build -name '*.d' 2>/dev/null)
