/* resolve - see resolve.h */
#include "lib/run/resolve.h"

#include <stdio.h>

#include <curl/curl.h>
#include <sys/socket.h>

enum {
    URL_MAX = 512 /* around a host name of at most 253 bytes */
};

struct found {
    resolve_each each;
    void *arg;
    bool any;
};

/* Asked for each address in turn; there is never a socket. */
static curl_socket_t take_address(void *arg, curlsocktype purpose,
                                  struct curl_sockaddr *to)
{
    struct found *f = arg;
    struct addr a;
    uint16_t port;

    (void)purpose;
    if (addr_of_sockaddr(&to->addr, &a, &port)) {
        f->any = true;
        f->each(f->arg, &a, port);
    }
    return CURL_SOCKET_BAD;
}

bool resolve_url(const char *url, ms most_ms, resolve_each each, void *arg)
{
    struct found f = {each, arg, false};
    CURL *easy = curl_easy_init();

    if (!easy)
        return false;
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
    /* 0 would mean: without end */
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS,
                     (long)(most_ms > 0 ? most_ms : 1));
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, take_address);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, &f);
    (void)curl_easy_perform(easy);
    curl_easy_cleanup(easy);
    return f.any;
}

bool resolve_host(const char *host, uint16_t port, ms most_ms,
                  resolve_each each, void *arg)
{
    bool v6 = strchr(host, ':') != NULL;
    char url[URL_MAX];
    int n = snprintf(url, sizeof url, v6 ? "http://[%s]:%d/" : "http://%s:%d/",
                     host, (int)port);

    return n > 0 && (size_t)n < sizeof url &&
           resolve_url(url, most_ms, each, arg);
}
