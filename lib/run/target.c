/* target - see target.h */
#include "lib/run/target.h"

#include <locale.h>

#include <curl/curl.h>

#include "lib/run/resolve.h"

/* A name of other letters than ASCII may be in it, as it is or encoded. */
static bool may_be_international(str url)
{
    for (size_t i = 0; i < url.n; i++)
        if ((unsigned char)url.p[i] >= 0x80 || url.p[i] == '%')
            return true;
    return false;
}

/*
 * libcurl takes international names in the charset of the thread's locale,
 * and a program that sets none has ASCII. Made only where one is needed: it is
 * read from a file, and each delivery comes by here.
 */
static locale_t enter_utf8(str url, locale_t *made)
{
    *made = may_be_international(url)
                ? newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0)
                : (locale_t)0;
    return *made ? uselocale(*made) : (locale_t)0;
}

static void leave_utf8(locale_t made, locale_t before)
{
    if (made) {
        uselocale(before);
        freelocale(made);
    }
}

static bool has_part(CURLU *u, CURLUPart part)
{
    char *text = NULL;
    bool has = curl_url_get(u, part, &text, 0) == CURLUE_OK;

    curl_free(text);
    return has;
}

static bool has_port_0(CURLU *u)
{
    char *port = NULL;
    bool has = curl_url_get(u, CURLUPART_PORT, &port, 0) == CURLUE_OK &&
               strcmp(port, "0") == 0;

    curl_free(port);
    return has;
}

/* What is wrong with it, or NULL; *out_wire when it is not NULL. */
static const char *look(CURLU *u, const char *z, char **out_wire)
{
    CURLUcode e = curl_url_set(u, CURLUPART_URL, z, CURLU_URLENCODE);

    if (e == CURLUE_OUT_OF_MEMORY)
        return "no memory";
    if (e != CURLUE_OK || has_port_0(u))
        return "expected a URL with a valid host and port";
    if (has_part(u, CURLUPART_USER) || has_part(u, CURLUPART_PASSWORD))
        return "user information is not allowed";
    if (has_part(u, CURLUPART_FRAGMENT))
        return "a fragment is not allowed";
    e = curl_url_get(u, CURLUPART_URL, out_wire, CURLU_PUNYCODE);
    return e == CURLUE_OK ? NULL : "expected a host that can be looked up";
}

/* Neither blanks nor control characters. */
static bool is_tight(str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f)
            return false;
    return true;
}

static const char *read_url(str url, char **out_wire)
{
    str rest = url;
    char z[4096];
    const char *wrong;
    locale_t before, made;
    CURLU *u;

    if (str_starts_nocase(url, STR("https://")))
        rest = str_from(url, 8);
    else if (str_starts_nocase(url, STR("http://")))
        rest = str_from(url, 7);
    else
        return "expected an absolute URL that begins with http:// or https://";
    /* libcurl would take "http:///host" and encode blanks */
    if (rest.n == 0 || rest.p[0] == '/' || url.n >= sizeof z || !is_tight(url))
        return "expected a URL with a valid host and port";
    /* it drops what is empty, so that nobody would see these */
    if (str_find(rest, '#', 0) != SIZE_MAX)
        return "a fragment is not allowed";
    memcpy(z, url.p, url.n);
    z[url.n] = '\0';
    u = curl_url();
    if (!u)
        return "no memory";
    before = enter_utf8(url, &made);
    wrong = look(u, z, out_wire);
    leave_utf8(made, before);
    curl_url_cleanup(u);
    return wrong;
}

char *target_wire(str url)
{
    char *wire = NULL;

    return read_url(url, &wire) ? NULL : wire;
}

void target_free(char *wire)
{
    curl_free(wire);
}

enum err target_check(struct ctx *c, str url, bool https_only)
{
    char *wire = NULL;
    const char *wrong = read_url(url, &wire);

    curl_free(wire);
    if (!wrong && https_only && !str_starts_nocase(url, STR("https://")))
        wrong = "expected https://";
    return wrong ? ctx_fail(c, ERR_VALIDATION_ERROR, "%s", wrong) : OK;
}

struct judge {
    const struct egress *egress;
    bool denied;
};

static void judge_address(void *arg, const struct addr *a, uint16_t port)
{
    struct judge *j = arg;

    if (!egress_allows(j->egress, a, port))
        j->denied = true;
}

enum err target_judge(struct ctx *c, const struct egress *e, str url,
                      ms most_ms)
{
    struct judge j = {e, false};
    char *wire = target_wire(url);

    if (!wire)
        return ctx_fail(c, ERR_VALIDATION_ERROR, "expected a URL");
    (void)resolve_url(wire, most_ms, judge_address, &j);
    curl_free(wire);
    return j.denied ? ctx_fail(c, ERR_TARGET_NOT_ALLOWED,
                               "The address of the URL is not allowed")
                    : OK;
}
