/* text.h - the topology as text, for the library: by environment or by file.
 *
 *   v1;boot=UUID;online=0-1;node=0 cpus=0-1 mem=511 tier=0 dist=0:10,1:21;node=1 ...;end
 *
 * The library reads it before its first allocation and refuses what is of another boot, of other nodes,
 * cut or malformed, so the text says all of that.
 */
#ifndef HK_TOOL_TEXT_H
#define HK_TOOL_TEXT_H

#include "machine.h"

#define HK_TOPOLOGY_FILE "/run/hakmem/topology"
#define HK_TOPOLOGY_BYTES 65536u /* the library reads no more */

/* Records end with SEPARATOR: ';' or a newline. To be freed. */
char *hk_topology_text(const struct hk_machine *m, char separator);

/* Writes it to PATH, complete or not at all; ends with a line where that fails. */
void hk_topology_save(const struct hk_machine *m, const char *path);

/* NULL where the library takes PATH as it is now; else why not. NONE: there is no such file. */
const char *hk_topology_refused(const char *path, bool *none);

#endif
