/* program - see program.h */
#include "lib/base/program.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/base/version.h"

static const char switches[] =
    "\n"
    "Settings come from the environment, then from FILE (else .env in the\n"
    "working directory, if there is one).\n"
    "\n"
    "  --env-file FILE  read settings from FILE\n"
    "  --check-config   check all settings and exit: 0 good, 2 bad\n"
    "  --print-config   print every setting, secrets masked, and exit\n"
    "  --version        print the version and exit\n"
    "  --help           print this and exit\n";

struct options {
    const char *env_file;
    bool check, print, version, help;
};

/* The flag of a switch without a value; NULL: it is none. */
static bool *flag_of(struct options *o, const char *word)
{
    struct {
        const char *word;
        bool *flag;
    } rows[] = {{"--check-config", &o->check},
                {"--print-config", &o->print},
                {"--version", &o->version},
                {"--help", &o->help}};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(word, rows[i].word) == 0)
            return rows[i].flag;
    return NULL;
}

int program_misuse(const struct program *p, const char *fmt, ...)
{
    va_list args;

    fprintf(stderr, "%s: ", p->name);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\n`%s --help` tells more\n", p->name);
    return PROGRAM_USAGE;
}

/* Takes the switches out of argv. */
static int take_switches(const struct program *p, int *argc, char **argv,
                         struct options *out)
{
    int n = 1;

    for (int i = 1; i < *argc; i++) {
        bool *flag = flag_of(out, argv[i]);

        if (flag)
            *flag = true;
        else if (strcmp(argv[i], "--env-file") != 0)
            argv[n++] = argv[i];
        else if (i + 1 < *argc)
            out->env_file = argv[++i];
        else
            return program_misuse(p, "--env-file: expected a path behind it");
    }
    *argc = n;
    if (n > 1 && !p->takes_words)
        return program_misuse(p, "unknown option %s", argv[1]);
    return PROGRAM_GO;
}

int program_start(const struct program *p, int *argc, char **argv,
                  struct conf **out)
{
    struct options options = {.env_file = ""};
    int problems, code = take_switches(p, argc, argv, &options);
    struct conf *conf;

    if (code != PROGRAM_GO)
        return code;
    if (options.help)
        return printf("%s%s", p->usage, switches), PROGRAM_DONE;
    if (options.version)
        return puts(VERSION_TEXT), PROGRAM_DONE;
    conf = conf_new(environ, options.env_file, stderr, &problems);
    if (!conf || problems) {
        conf_free(conf);
        return PROGRAM_USAGE;
    }
    if (options.print)
        conf_print(conf, stdout);
    if (options.check || options.print) {
        conf_free(conf);
        return PROGRAM_DONE;
    }
    log_setup((enum log_level)conf->log_level, p->name,
              conf->cluster_instance_id);
    *out = conf;
    return PROGRAM_GO;
}
