/* http - see http.h */
#include "lib/run/http.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <curl/curl.h>
#include <sys/socket.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/run/target.h"

enum {
    LINES = 8,             /* receivers whose connections are kept */
    BODY_MAX = 64 << 10,   /* read of an answer */
    HEADS_MAX = 64 << 10,  /* of all its header blocks together */
    HEADER_MAX = 16 << 10, /* one of ours */
    LOOK_MS = 200,         /* between two questions whether to go on */
    BUSY_MS = 20,          /* the same while stop_fd stays readable */
    IDLE_S = 30,           /* a connection that was idle longer is not used */
    RETRY_AFTER_MAX_S = 86400
};

/* An easy handle with a connection cache that nobody else uses. */
struct line {
    char key[HTTP_KEY_MAX];
    size_t key_n;
    CURLM *multi;
    CURL *easy;
    int64_t used; /* turn of the last request; 0: never */
};

/* What the callbacks of one request see and leave. */
struct exchange {
    const struct egress *egress;
    bool denied; /* an address */
    bool opened; /* a socket to another */
    bool too_large;
    bool complete; /* the headers of the answer */
    int status;
    size_t heads, body; /* bytes */
};

struct http {
    const struct egress *egress;
    bool https_only;
    int64_t turn;
    struct buf text; /* one of our headers */
    struct line lines[LINES];
};

struct http *http_new(const struct egress *e, bool https_only)
{
    struct http *h = calloc(1, sizeof *h);

    if (!h || curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
        free(h);
        return NULL;
    }
    h->egress = e;
    h->https_only = https_only;
    buf_init(&h->text, HEADER_MAX, ERR_INTERNAL);
    return h;
}

static void line_close(struct line *l)
{
    if (l->easy)
        curl_easy_cleanup(l->easy);
    if (l->multi)
        (void)curl_multi_cleanup(l->multi);
    *l = (struct line){.used = 0};
}

void http_free(struct http *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < LINES; i++)
        line_close(&h->lines[i]);
    buf_done(&h->text);
    curl_global_cleanup();
    free(h);
}

/* The line of that key, or the one that rested longest, emptied. */
static struct line *line_find(struct http *h, str key)
{
    struct line *oldest = &h->lines[0];

    for (size_t i = 0; i < LINES; i++) {
        struct line *l = &h->lines[i];

        if (l->used && str_eq((str){l->key, l->key_n}, key))
            return l;
        if (l->used < oldest->used)
            oldest = l;
    }
    line_close(oldest);
    memcpy(oldest->key, key.p, key.n);
    oldest->key_n = key.n;
    return oldest;
}

static struct line *line_take(struct http *h, str key)
{
    struct line *l;

    if (key.n == 0 || key.n > HTTP_KEY_MAX)
        return NULL;
    l = line_find(h, key);
    if (!l->multi)
        l->multi = curl_multi_init();
    if (!l->easy)
        l->easy = curl_easy_init();
    if (!l->multi || !l->easy) {
        line_close(l);
        return NULL;
    }
    curl_easy_reset(l->easy); /* connections and sessions stay */
    (void)curl_multi_setopt(l->multi, CURLMOPT_MAXCONNECTS, 1L);
    l->used = ++h->turn;
    return l;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose,
                                 struct curl_sockaddr *to)
{
    struct exchange *x = arg;
    struct addr a;
    uint16_t port;
    int fd;

    if (purpose != CURLSOCKTYPE_IPCXN ||
        !addr_of_sockaddr(&to->addr, &a, &port) ||
        !egress_allows(x->egress, &a, port)) {
        x->denied = true;
        return CURL_SOCKET_BAD;
    }
    fd = socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
    if (fd >= 0)
        x->opened = true;
    return fd >= 0 ? fd : CURL_SOCKET_BAD;
}

/* "HTTP/1.1 204 ..." to 204, other lines to 0. */
static int status_of(str line)
{
    int64_t status;
    size_t blank = str_find(line, ' ', 0);

    if (!str_starts(line, STR("HTTP/")) || blank == SIZE_MAX ||
        !str_to_i64(str_head(str_from(line, blank + 1), 3), &status) ||
        status < 100)
        return 0;
    return (int)status;
}

static size_t take_head(char *p, size_t size, size_t n, void *arg)
{
    struct exchange *x = arg;
    str line = {p, size * n};
    int status;

    x->heads += line.n;
    if (x->heads > HEADS_MAX) {
        x->too_large = true;
        return 0;
    }
    if (x->complete) /* trailers */
        return line.n;
    status = status_of(line);
    if (status)
        x->status = status;
    /* blocks of 1xx come before that of the answer */
    if (str_trim(line).n == 0 && x->status >= 200)
        x->complete = true;
    return line.n;
}

static size_t take_body(char *p, size_t size, size_t n, void *arg)
{
    struct exchange *x = arg;

    (void)p;
    x->body += size * n;
    return x->body > BODY_MAX ? 0 : size * n;
}

/* One of ours; libcurl takes "Name;" for an empty one. */
static bool header_add(struct http *h, struct curl_slist **list, str name,
                       str value)
{
    struct curl_slist *more;
    bool fits;

    buf_clear(&h->text);
    buf_add(&h->text, name);
    buf_add(&h->text, value.n ? STR(": ") : STR(";"));
    buf_add(&h->text, value);
    fits = !h->text.err && name.n > 0 &&
           str_find(buf_str(&h->text), '\r', 0) == SIZE_MAX &&
           str_find(buf_str(&h->text), '\n', 0) == SIZE_MAX &&
           str_find(buf_str(&h->text), '\0', 0) == SIZE_MAX;
    buf_add_char(&h->text, '\0');
    if (!fits || h->text.err)
        return false;
    more = curl_slist_append(*list, h->text.p);
    if (more)
        *list = more;
    return more != NULL;
}

static bool headers_make(struct http *h, const struct http_request *q,
                         struct curl_slist **out)
{
    struct curl_slist *none = curl_slist_append(NULL, "Expect:");
    bool done = none != NULL;

    *out = none;
    for (size_t i = 0; done && i < q->headers_n; i++)
        done = header_add(h, out, q->headers[i].name, q->headers[i].value);
    return done;
}

/* Whatever the environment, a file or the receiver would like to add is off. */
static CURLcode set_fences(CURL *e, const struct http *h, struct exchange *x)
{
    const char *protocols = h->https_only ? "https" : "http,https";
    CURLcode code = CURLE_OK;

#define SET(option, value)                                                     \
    if (code == CURLE_OK)                                                      \
    code = curl_easy_setopt(e, option, value)
    SET(CURLOPT_PROTOCOLS_STR, protocols);
    SET(CURLOPT_REDIR_PROTOCOLS_STR, protocols);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_MAXREDIRS, 0L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NOPROXY, "*");
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    SET(CURLOPT_COOKIEFILE, NULL);
    SET(CURLOPT_ACCEPT_ENCODING, NULL);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_HTTP09_ALLOWED, 0L);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(CURLOPT_OPENSOCKETDATA, x);
    SET(CURLOPT_HEADERFUNCTION, take_head);
    SET(CURLOPT_HEADERDATA, x);
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_WRITEDATA, x);
    return code;
}

static CURLcode set_request(CURL *e, const struct http_request *q,
                            const char *url, struct curl_slist *headers)
{
    CURLcode code = CURLE_OK;

    SET(CURLOPT_URL, url);
    SET(CURLOPT_POST, 1L);
    SET(CURLOPT_POSTFIELDS, q->body.n ? q->body.p : "");
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body.n);
    SET(CURLOPT_HTTPHEADER, headers);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)q->connect_ms);
    SET(CURLOPT_TIMEOUT_MS, (long)q->total_ms);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L);
    SET(CURLOPT_MAXAGE_CONN, (long)IDLE_S);
    return code;
#undef SET
}

/* Why there is no answer. */
static enum http_outcome outcome_of(CURLcode code, const struct exchange *x,
                                    bool sent)
{
    if (x->denied && !x->opened)
        return HTTP_DENIED;
    if (x->too_large)
        return HTTP_TOO_LARGE;
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        return HTTP_TIMEOUT;
    case CURLE_COULDNT_RESOLVE_HOST:
        return HTTP_DNS;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_SSL_ENGINE_SETFAILED:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_USE_SSL_FAILED:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_SHUTDOWN_FAILED:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_CLIENTCERT:
        return HTTP_TLS;
    case CURLE_OUT_OF_MEMORY: /* also a header line over its own limit */
#if LIBCURL_VERSION_NUM >= 0x080600
    case CURLE_TOO_LARGE:
#endif
        return sent ? HTTP_TOO_LARGE : HTTP_FAILED;
    case CURLE_UNSUPPORTED_PROTOCOL: /* or an answer that is not HTTP */
        return sent ? HTTP_CONNECT : HTTP_DENIED;
    case CURLE_URL_MALFORMAT:
    case CURLE_NOT_BUILT_IN:
    case CURLE_FAILED_INIT:
    case CURLE_BAD_FUNCTION_ARGUMENT:
        return HTTP_FAILED;
    default:
        return HTTP_CONNECT;
    }
}

/* When a transfer is looked at again. */
struct watch {
    const struct http_request *q;
    ms end;       /* libcurl's own limit, should it fail */
    ms quiet;     /* stop_fd is left alone until then */
    bool stopped; /* by may_go_on */
};

static bool watch_allows(struct watch *w, bool readable)
{
    ms now = clock_mono_ms();

    if (readable)
        w->quiet = now + BUSY_MS;
    w->stopped = w->q->may_go_on && !w->q->may_go_on(w->q->arg);
    return !w->stopped && now < w->end;
}

/* Runs the transfer to its end, or until it may not go on. */
static CURLcode drive(struct line *l, struct watch *w)
{
    struct curl_waitfd stop = {.fd = w->q->stop_fd, .events = CURL_WAIT_POLLIN};
    bool readable = false;
    int running = 0, left;
    CURLMsg *m;

    while (watch_allows(w, readable)) {
        bool busy = clock_mono_ms() < w->quiet;
        unsigned extra = w->q->stop_fd >= 0 && !busy;

        if (curl_multi_perform(l->multi, &running) != CURLM_OK)
            return CURLE_FAILED_INIT;
        if (!running)
            break;
        stop.revents = 0;
        if (curl_multi_poll(l->multi, &stop, extra, busy ? BUSY_MS : LOOK_MS,
                            NULL) != CURLM_OK)
            return CURLE_FAILED_INIT;
        readable = extra && stop.revents != 0;
    }
    m = running ? NULL : curl_multi_info_read(l->multi, &left);
    return m && m->msg == CURLMSG_DONE ? m->data.result
                                       : CURLE_OPERATION_TIMEDOUT;
}

static void read_answer(CURL *easy, const struct exchange *x,
                        struct http_answer *out)
{
    curl_off_t seconds = 0;

    out->outcome = HTTP_ANSWERED;
    out->status = x->status;
    if ((x->status != 429 && x->status != 503) ||
        curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &seconds) != CURLE_OK ||
        seconds <= 0)
        return;
    out->retry_after_ms =
        (seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S) * 1000;
}

static void run(struct line *l, const struct http_request *q,
                const struct exchange *x, struct http_answer *out)
{
    struct watch w = {q, clock_mono_ms() + q->total_ms + LOOK_MS, 0, false};
    CURLcode code = CURLE_FAILED_INIT;
    long sent = 0;

    if (curl_multi_add_handle(l->multi, l->easy) == CURLM_OK)
        code = drive(l, &w);
    (void)curl_easy_getinfo(l->easy, CURLINFO_REQUEST_SIZE, &sent);
    if (x->complete) /* the status decides, whatever came of the body */
        read_answer(l->easy, x, out);
    else
        out->outcome = w.stopped ? HTTP_STOPPED : outcome_of(code, x, sent > 0);
    (void)curl_multi_remove_handle(l->multi, l->easy);
}

void http_post(struct http *h, const struct http_request *q,
               struct http_answer *out)
{
    struct exchange x = {.egress = h->egress};
    struct line *l = line_take(h, q->key);
    char *url = target_wire(q->url);
    struct curl_slist *headers = NULL;
    ms start = clock_mono_ms();

    *out = (struct http_answer){HTTP_FAILED, 0, -1, 0};
    if (l && url && q->connect_ms > 0 && q->total_ms > 0 &&
        headers_make(h, q, &headers) &&
        set_fences(l->easy, h, &x) == CURLE_OK &&
        set_request(l->easy, q, url, headers) == CURLE_OK)
        run(l, q, &x, out);
    if (l)
        curl_easy_reset(l->easy); /* it points to what ends here */
    curl_slist_free_all(headers);
    target_free(url);
    out->took_ms = clock_mono_ms() - start;
}

const char *http_error_class(const struct http_answer *a)
{
    switch (a->outcome) {
    case HTTP_ANSWERED:
        return a->status >= 200 && a->status <= 299 ? NULL : "http-status";
    case HTTP_TIMEOUT:
        return "timeout";
    case HTTP_DNS:
        return "dns";
    case HTTP_TLS:
        return "tls";
    case HTTP_DENIED:
        return "target-not-allowed";
    case HTTP_TOO_LARGE:
        return "too-large";
    case HTTP_CONNECT:
    case HTTP_STOPPED:
    case HTTP_FAILED:
        break;
    }
    return "connect";
}
