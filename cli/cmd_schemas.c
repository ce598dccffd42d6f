/* cmd_schemas - apply-schemas: the system collections as they should be */
#include <stdio.h>

#include "cli/commands.h"
#include "lib/base/program.h"
#include "lib/data/schema.h"

int cmd_apply_schemas(struct ctx *c, const struct words *w)
{
    struct schema_made made = {0};
    int code = command_options(w, NULL, 0);

    if (code != PROGRAM_GO)
        return code;
    if (schema_apply_counted(c, &made) != OK)
        return command_failed(c, w);
    fprintf(stderr, "Made: collections %d, indexes %d, documents %d.\n",
            made.collections, made.indexes, made.documents);
    return PROGRAM_DONE;
}
