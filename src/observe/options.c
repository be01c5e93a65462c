/* options.c - environment and profile into struct hk_options. Allocates nothing, asks nothing twice. */
#include "observe/options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>

#include "observe/say.h"
#include "os/syscalls.h"

#define PROFILE_BYTES 4096
#define TEXTS_BYTES 2048

enum type { NUMBER, CHOICE, TEXT, PASSED };
enum origin { BY_DEFAULT, BY_PROFILE, BY_ENVIRONMENT };

struct option {
	const char *name;
	size_t offset;
	enum type type;
	size_t least, most;
	bool has_auto;
	const char *unit;
	const char *help;
};

#define HK_OPTION(field, name, type, preset, least, most, unit, help) \
	{name, offsetof(struct hk_options, field), type, least, most, (preset) == HK_AUTO, unit, help},
static const struct option table[] = {
#include "observe/options.def"
};
#undef HK_OPTION

#define OPTIONS (sizeof(table) / sizeof(table[0]))

#define HK_OPTION(field, name, type, preset, ...) .field = HK_PRESET_##type(preset),
#define HK_PRESET_NUMBER(x) x
#define HK_PRESET_CHOICE(x) x
#define HK_PRESET_TEXT(x) NULL
#define HK_PRESET_PASSED(x) NULL
struct hk_options hk_options = {
#include "observe/options.def"
};
#undef HK_OPTION

struct profile {
	const char *name;
	const char *text;
};

/* Made at build time from config/?*.conf: {"default", "HAKMEM_...\n"}, ... */
static const struct profile profiles[] = {
#include "profiles.inc"
};

static unsigned char origins[OPTIONS];
static char profile_text[PROFILE_BYTES];

static const struct option *find(const char *name, size_t bytes)
{
	for (size_t i = 0; i < OPTIONS; i++)
		if (!strncmp(table[i].name, name, bytes) && !table[i].name[bytes])
			return &table[i];
	return NULL;
}

static bool parse_number(const struct option *o, const char *value, size_t *out)
{
	size_t x = 0;
	if (o->has_auto && !strcmp(value, "auto")) {
		*out = HK_AUTO;
		return true;
	}
	if (!*value)
		return false;
	for (; *value; value++) {
		if (*value < '0' || *value > '9' || x > SIZE_MAX / 10 - 10)
			return false;
		x = x * 10 + (size_t)(*value - '0');
	}
	*out = x;
	return x >= o->least && x <= o->most;
}

/* A choice's words are those before the colons of its help: "never: ...; thp: ...". */
static const char *word(const struct option *o, size_t index, size_t *bytes)
{
	const char *at = o->help;
	while (index--) {
		at = strstr(at, "; ");
		if (!at)
			return NULL;
		at += 2;
	}
	*bytes = strcspn(at, ":");
	return at;
}

static bool parse_choice(const struct option *o, const char *value, size_t *out)
{
	for (size_t i = 0; i <= o->most; i++) {
		size_t bytes;
		const char *w = word(o, i, &bytes);
		if (w && !strncmp(w, value, bytes) && !value[bytes]) {
			*out = i;
			return true;
		}
	}
	return false;
}

/* A copy: programs write over their environment to change their title. */
static const char *keep(const char *value)
{
	static char texts[TEXTS_BYTES];
	static size_t used;
	size_t bytes = strlen(value) + 1;
	if (used + bytes > sizeof(texts))
		return NULL;
	used += bytes;
	return memcpy(texts + used - bytes, value, bytes);
}

/* Where a line stands; of the environment, nowhere. */
struct place {
	const char *profile;
	unsigned line;
	char text[160];
};

static const char *said_at(struct place *place)
{
	if (place->profile)
		snprintf(place->text, sizeof(place->text), "profile %.100s, line %u: ", place->profile, place->line);
	return place->text;
}

static bool is_text(const char *value)
{
	return *value && strlen(value) < TEXTS_BYTES / 3;
}

static void set(const struct option *o, const char *value, struct place *place)
{
	void *field = (char *)&hk_options + o->offset;
	size_t x = 0;
	bool good = o->type == PASSED   ? *value
		    : o->type == TEXT   ? is_text(value)
		    : o->type == NUMBER ? parse_number(o, value, &x)
					: parse_choice(o, value, &x);
	if (!good) {
		if (o->type == NUMBER)
			hk_say("%s%s=%s ignored: a number from %zu to %zu%s is wanted", said_at(place), o->name, value,
			       o->least, o->most, o->has_auto ? ", or auto," : "");
		else
			hk_say("%s%s=%s ignored: %s", said_at(place), o->name, value, o->help);
		return;
	}
	if (o->type == TEXT && !(*(const char **)field && !strcmp(*(const char **)field, value))) {
		const char *kept = keep(value);
		if (!kept) {
			hk_say("%s%s=%s ignored: the texts of all options are longer than %u bytes", said_at(place), o->name,
			       value, TEXTS_BYTES);
			return;
		}
		*(const char **)field = kept;
	} else if (o->type == PASSED)
		*(const char **)field = value;
	else if (o->type != TEXT)
		*(size_t *)field = x;
	origins[o - table] = place->profile ? BY_PROFILE : BY_ENVIRONMENT;
}

/* ---- profiles ---- */

#define BLANKS " \t"

static size_t without_blanks_behind(const char *text, size_t bytes)
{
	while (bytes && strchr(BLANKS, text[bytes - 1]))
		bytes--;
	return bytes;
}

/* Lines NAME=VALUE, blanks around both; # begins a comment. TEXT is cut into strings where it stands. */
static void read_profile(char *text, const char *from)
{
	struct place place = {from, 0, ""};
	for (char *line = text; line && *line;) {
		char *next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		place.line++;
		line[without_blanks_behind(line, strcspn(line, "#\r"))] = 0;
		line += strspn(line, BLANKS);
		char *value = strchr(line, '=');
		if (*line) {
			const struct option *o = value ? find(line, without_blanks_behind(line, (size_t)(value - line))) : NULL;
			if (!o || !strcmp(o->name, "HAKMEM_PROFILE"))
				hk_say("%sunknown option ignored: %s", said_at(&place), line);
			else
				set(o, value + 1 + strspn(value + 1, BLANKS), &place);
		}
		line = next;
	}
}

static bool load_file(const char *path)
{
	struct stat st;
	int fd = hk_sys_open(path, O_RDONLY | O_NONBLOCK); /* a fifo would wait for a writer */
	bool is_file = fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode);
	ssize_t n = is_file ? hk_sys_read(fd, profile_text, PROFILE_BYTES) : -1;
	if (fd >= 0)
		hk_sys_close(fd);
	if (n < 0 || n == PROFILE_BYTES) {
		hk_say("HAKMEM_PROFILE=%s ignored: %s", path,
		       n < 0 ? "it cannot be read, or is no file" : "the file is larger than 4095 bytes");
		return false;
	}
	profile_text[n] = 0;
	return true;
}

static bool load_built_in(const char *name)
{
	for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++)
		if (!strcmp(profiles[i].name, name)) {
			strncpy(profile_text, profiles[i].text, PROFILE_BYTES - 1);
			return true;
		}
	hk_say("HAKMEM_PROFILE=%s ignored: no such profile, and no '/' as a path has", name);
	return false;
}

static bool apply_profile(const char *name)
{
	if (!(strchr(name, '/') ? load_file(name) : load_built_in(name)))
		return false;
	read_profile(profile_text, name);
	return true;
}

/* ---- the environment ---- */

static void read_variable(const char *line)
{
	struct place nowhere = {NULL, 0, ""};
	const char *value = strchr(line, '=');
	const struct option *o = value ? find(line, (size_t)(value - line)) : NULL;
	if (o)
		set(o, value + 1, &nowhere);
	else
		hk_say("unknown option ignored: %s", line);
}

void hk_options_read(void)
{
	const char *profile = NULL;
	int saved = errno;
	if (getauxval(AT_SECURE) || !environ)
		return;
	for (char **e = environ; *e; e++) {
		if (!strncmp(*e, "HAKMEM_LOG=", 11) && is_text(*e + 11))
			hk_options.log = keep(*e + 11); /* first: the next lines may have something to say */
		if (!strncmp(*e, "HAKMEM_PROFILE=", 15) && is_text(*e + 15))
			profile = *e + 15;
	}
	bool applied = profile && apply_profile(profile);
	for (char **e = environ; *e; e++)
		if (!strncmp(*e, "HAKMEM_", 7))
			read_variable(*e);
	if (!applied)
		hk_options.profile = NULL;
	errno = saved;
}

void hk_options_print(void)
{
	static const char *const by[] = {"default", "profile", "environment"};
	for (size_t i = 0; i < OPTIONS; i++) {
		const struct option *o = &table[i];
		const void *field = (const char *)&hk_options + o->offset;
		const char *from = by[origins[i]];
		size_t bytes = 0;
		if (o->type == PASSED) {
			hk_say("%s=%s (%s)", o->name, *(const char *const *)field ? "..." : "", from);
		} else if (o->type == TEXT) {
			const char *text = *(const char *const *)field;
			hk_say("%s=%s (%s)", o->name, text ? text : "", text ? from : *by);
		} else if (o->type == CHOICE) {
			const char *w = word(o, *(const size_t *)field, &bytes);
			hk_say("%s=%.*s (%s)", o->name, (int)bytes, w ? w : "?", from);
		} else if (o->has_auto && *(const size_t *)field == HK_AUTO) {
			hk_say("%s=auto (%s)", o->name, from);
		} else {
			hk_say("%s=%zu%s%s (%s)", o->name, *(const size_t *)field, *o->unit ? " " : "",
			       o->unit, from);
		}
	}
}
