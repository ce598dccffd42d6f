/* test_conf_key - which public keys for tokens the settings accept */
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/conf.h"
#include "lib/base/hash.h"
#include "tests/unit/keys.h"
#include "tests/unit/support.h"

struct load {
    struct conf *conf;
    char *text; /* problems and warnings */
    int problems;
};

static struct load load(char *setting)
{
    char *env[] = {setting, NULL};
    struct load l = {NULL, NULL, 0};
    size_t size;
    FILE *out = open_memstream(&l.text, &size);

    l.conf = conf_new(env, "/dev/null", out, &l.problems);
    fclose(out);
    assert_non_null(l.conf);
    return l;
}

static void unload(struct load *l)
{
    conf_free(l->conf);
    free(l->text);
}

static void serves(char *setting, enum hash_key use)
{
    struct load l = load(setting);

    assert_string_equal(l.text, "");
    assert_int_equal(l.problems, 0);
    assert_int_equal(l.conf->jwt_public_key_use, use);
    unload(&l);
}

static void key_decides_what_it_is_used_for(void **state)
{
    static char rsa[] = "JWT_PUBLIC_KEY=" KEY_RSA_2048;
    static char p256[] = "JWT_PUBLIC_KEY=" KEY_P256;

    (void)state;
    serves(rsa, HASH_KEY_RS256);
    serves(p256, HASH_KEY_ES256);
}

static void line_breaks_may_be_spelled(void **state)
{
    char line[1024] = "JWT_PUBLIC_KEY=";
    size_t n = strlen(line);

    (void)state;
    for (const char *p = KEY_P256; *p; p++) {
        if (*p == '\n')
            line[n++] = '\\';
        line[n++] = *p == '\n' ? 'n' : *p;
    }
    serves(line, HASH_KEY_ES256);
}

static void key_comes_from_a_file(void **state)
{
    char setting[] = "JWT_PUBLIC_KEY_FILE=keyXXXXXX";
    char *path = strchr(setting, '=') + 1;
    int fd = mkstemp(path);

    (void)state;
    assert_int_equal(write(fd, KEY_P256, sizeof KEY_P256 - 1),
                     sizeof KEY_P256 - 1);
    close(fd);
    serves(setting, HASH_KEY_ES256);
    unlink(path);
}

/* One problem, whose line holds `part`. */
static void refuses(char *setting, const char *part)
{
    struct load l = load(setting);

    assert_int_equal(l.problems, 1);
    assert_memory_equal(l.text, "config: JWT_PUBLIC_KEY: ", 24);
    if (!strstr(l.text, part))
        fail_msg("no '%s' in %s", part, l.text);
    assert_ptr_equal(strchr(l.text, '\n'), l.text + strlen(l.text) - 1);
    unload(&l);
}

static void keys_that_cannot_work_are_refused(void **state)
{
    static char small[] = "JWT_PUBLIC_KEY=" KEY_RSA_1024;
    static char curve[] = "JWT_PUBLIC_KEY=" KEY_P384;
    static char other[] = "JWT_PUBLIC_KEY=" KEY_ED25519;
    static char noise[] = "JWT_PUBLIC_KEY=-----BEGIN PUBLIC KEY-----\nMIIB";
    static char closed[] = "JWT_PUBLIC_KEY=-----BEGIN RSA PRIVATE KEY-----\nab";

    (void)state;
    refuses(small, "RSA of 2048 bits or more");
    refuses(curve, "EC on the curve P-256");
    refuses(other, "a public key that can be read");
    refuses(noise, "a public key that can be read");
    refuses(closed, "\"***\": expected str starting with -----BEGIN PUBLIC");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_decides_what_it_is_used_for),
        cmocka_unit_test(line_breaks_may_be_spelled),
        cmocka_unit_test(key_comes_from_a_file),
        cmocka_unit_test(keys_that_cannot_work_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
