#pragma once
/*
 * places - where our own servers are at the moment: what a sender never dials
 *
 * Names are looked up again each minute, those that were not found sooner, and
 * with them the members that MongoDB's driver knows. What was found before
 * stays denied until all names are found again. A look takes a second at most,
 * whatever the name server does.
 */
#include "lib/data/mongo.h"
#include "lib/run/egress.h"

struct places {
    const struct conf *conf;
    struct mongo *mongo;
    struct egress *egress;
    ms due_boot;
};

/* With a first look. All are borrowed. */
void places_init(struct places *p, const struct conf *conf, struct mongo *m,
                 struct egress *e);

bool places_are_due(const struct places *p);
void places_look(struct places *p);
