#pragma once
/*
 * match_inside - what the parts of match share: the tree of conditions, values
 * and how they compare
 *
 *   filter -> match_parse -> tree of match_node; match_node_doc, _value
 *
 * match_parse.c (logic, paths), match_parse_op.c and match_parse_number.c
 * (operands), match_test.c (one condition on one value), match_compare.c and
 * match_number.c (order of values), match.c (paths through documents).
 */
#include "lib/data/bwalk.h"
#include "lib/data/match.h"
#include "lib/data/regex.h"

enum match_kind {
    /* of children: */
    MATCH_AND,
    MATCH_OR,
    MATCH_NOT,        /* one child */
    MATCH_ELEM_DOC,   /* on the elements of an array, which are documents */
    MATCH_ELEM_VALUE, /* on the elements of an array themselves */
    /* of a value: */
    MATCH_EQ,
    MATCH_GT,
    MATCH_GTE,
    MATCH_LT,
    MATCH_LTE,
    MATCH_IN,
    MATCH_EXISTS,
    MATCH_TYPE,
    MATCH_SIZE,
    MATCH_REGEX,
    MATCH_MOD,
    MATCH_BITS_ALL_SET,
    MATCH_BITS_ALL_CLEAR,
    MATCH_BITS_ANY_SET,
    MATCH_BITS_ANY_CLEAR
};

/* A regex and how a stored one equals it. */
struct match_regex {
    const struct regex *re;
    str pattern, options; /* options in the order of BSON */
};

struct match_node {
    enum match_kind kind;
    str path;                 /* all but AND, OR, NOT and inside ELEM_VALUE */
    struct match_node *first; /* child */
    struct match_node *next;  /* sibling */
    struct belem value;       /* EQ .. LTE; the array of IN */
    struct match_regex *regexes; /* REGEX: one; IN: any number */
    size_t regexes_n;
    int64_t size;          /* SIZE */
    int64_t divisor, rest; /* MOD */
    uint64_t types;        /* TYPE: bits of match_type_bit() */
    const uint32_t *bits;  /* BITS: places */
    size_t bits_n;
};

/* Of one match_doc. */
struct match_run {
    struct regex_run regex;
    unsigned steps;
    int64_t start_ns; /* CPU time at the first look */
    int64_t most_ns;  /* of it */
    bool is_over;
};

enum {
    MATCH_LOOK = 1024 /* steps between two looks at the CPU time, a call each */
};

struct match_parse {
    struct arena *arena;
    const char *fault; /* what is wrong, NULL: nothing */
    str where;         /* the operator or path it is said of */
    bool is_operator;  /* the fault: it may not stand there */
    bool no_memory;
};

/* NULL with fault or no_memory set. */
struct match_node *match_parse(struct match_parse *p, struct bwalk filter);

/* match_parse_op.c: the condition `op` on path; NULL as above. */
struct match_node *match_parse_op(struct match_parse *p, str path,
                                  const struct belem *op,
                                  struct bwalk siblings);
/* match_parse_number.c: one operator's operand. */
typedef struct match_node *match_parse_fn(struct match_parse *p, str path,
                                          const struct belem *op,
                                          enum match_kind kind);
match_parse_fn match_parse_size, match_parse_mod, match_parse_type,
    match_parse_bits;
/* A plain value beside a path: equality or a regex. */
struct match_node *match_parse_plain(struct match_parse *p, str path,
                                     const struct belem *value);
/* Conditions of an operator document, joined by AND. */
struct match_node *match_parse_ops(struct match_parse *p, str path,
                                   struct bwalk ops);
struct match_node *match_node_new(struct match_parse *p, enum match_kind kind,
                                  str path);
/* A node that has `only` as its child. */
struct match_node *match_node_over(struct match_parse *p, enum match_kind kind,
                                   str path, struct match_node *only);
/* Gives NULL. */
struct match_node *match_fault(struct match_parse *p, str where,
                               const char *what);
uint64_t match_type_bit(bson_type_t type);
/* A document whose first member is an operator. */
bool match_is_operators(const struct belem *e);

/* match.c */
bool match_node_doc(struct match_run *r, const struct match_node *n,
                    struct bwalk doc);
/* e is NULL for what is missing. */
bool match_node_value(struct match_run *r, const struct match_node *n,
                      const struct belem *e);

void match_look(struct match_run *r);

/* Asked before each step of a loop over what a document holds. */
static inline bool match_is_over(struct match_run *r)
{
    if (++r->steps % MATCH_LOOK == 0)
        match_look(r);
    return r->is_over;
}

/* match_test.c */
bool match_test(struct match_run *r, const struct match_node *n,
                const struct belem *e);

/* match_compare.c: the order of MongoDB, <0, 0 or >0 */
int match_class(bson_type_t type); /* values of one class compare */
int match_compare(const struct belem *l, const struct belem *r);
/* Equal in that order, or by the additions of match.h, at any depth. */
bool match_equal(const struct belem *l, const struct belem *r);
/* A text that is a date as the date it is, when the other is one. */
bool match_as_dates(const struct belem *l, const struct belem *r,
                    int64_t *out_l, int64_t *out_r);
struct bwalk match_walk(const struct belem *e); /* of a document or array */

/* match_number.c */
bool match_is_number(const struct belem *e);
bool match_is_nan(const struct belem *e);
int match_compare_numbers(const struct belem *l, const struct belem *r);
/* The number without its fraction; *out_exact: it has none. False: NaN, or
 * beyond an int64. */
bool match_whole(const struct belem *e, int64_t *out, bool *out_exact);
/* As the operators on bits read it: doubles exactly, decimals rounded, those
 * beyond an int64 as the smallest. */
bool match_bits_of(const struct belem *e, int64_t *out);
