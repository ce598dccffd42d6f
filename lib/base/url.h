#pragma once
/*
 * url - request paths and urlencoded pairs
 *
 * What comes out is decoded once, valid UTF-8 without NUL, NUL-terminated
 * and lives in the arena.
 */
#include "lib/base/ctx.h"

enum {
    URL_SEGMENTS_MAX = 8,
    URL_PAIRS_MAX = 1000,
    URL_LEVELS_MAX = 5, /* of brackets */
    URL_INDEX_MAX = 20, /* a greater number in brackets is a name */
};

struct url_path {
    str segment[URL_SEGMENTS_MAX];
    size_t n;
};

/*
 * path is the request URI up to '?'; one trailing slash is ignored, and so
 * is "http://host" in front. ERR_BAD_PATH for a broken escape, NUL, invalid
 * UTF-8 and dot segments (encoded ones too); ERR_ROUTE_NOT_FOUND for an empty
 * segment and for too many; *out then has the segments before the bad one.
 */
MUST_CHECK enum err url_split_path(struct arena *a, str path,
                                   struct url_path *out);

struct url_param {
    str key;   /* all of it */
    str value; /* empty when there is none */
    bool has_value;
    size_t pos;                /* its place among the pairs */
    str name;                  /* the key without brackets */
    str level[URL_LEVELS_MAX]; /* what stands in the brackets */
    size_t levels;
};

/*
 * `+` is a space and a broken escape stays as it is. In a pair without `=`
 * that has `<` or `>` before any bracket, brackets mean nothing. Faults note
 * ERR_BAD_QUERY.
 */
MUST_CHECK enum err url_split_query(struct ctx *c, str query,
                                    struct url_param **out, size_t *out_n);

enum url_kind {
    URL_TEXT,
    URL_LIST,  /* children in their final order, their keys mean nothing */
    URL_OBJECT /* children in order of first appearance */
};

struct url_node {
    enum url_kind kind;
    str key, text;
    size_t pos; /* of the first pair it comes from */
    struct url_node *child, *next;
    struct url_node *last; /* child */
    struct url_node *up;
    int index;    /* in a list; -1 when it has none */
    bool bracket; /* a list from brackets, not from repetition */
};

/*
 * a[b]=1 nests, a[]=1, a[3]=1 and repetition make lists. The root is an
 * object. ERR_BAD_QUERY when one key is used in two ways.
 */
MUST_CHECK enum err url_nest(struct ctx *c, const struct url_param *params,
                             size_t n, struct url_node **out_root);
