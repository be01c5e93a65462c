/* options_test.c - src/observe/options.c: good and bad values, profiles against their files in
 * config/, messages said once. The program starts itself anew to see what a process prints. */
#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "observe/options.h"

#define TEXT_BYTES 20000

enum kind { NUMBER, CHOICE, TEXT, PASSED };

static const struct option {
	const char *name;
	enum kind kind;
	size_t offset, preset, least, most;
	const char *unit, *help;
} table[] = {
#define HK_OPTION(field, name, kind, preset, least, most, unit, help) \
	{name, kind, offsetof(struct hk_options, field), preset, least, most, unit, help},
#include "observe/options.def"
#undef HK_OPTION
};

static char said[TEXT_BYTES];

static size_t value_of(const struct option *o)
{
	return *(const size_t *)((const char *)&hk_options + o->offset);
}

struct trial {
	const struct option *option;
	const char *value;
	size_t want;
};

static void try_here(void *arg)
{
	const struct trial *t = arg;
	setenv(t->option->name, t->value, 1);
	hk_options_read();
	if (value_of(t->option) != t->want)
		dprintf(2, "VALUE %zu", value_of(t->option));
}

/* NAME=VALUE must give WANT, with a message if it is BAD and without one otherwise. */
static void expect(const struct option *o, const char *value, size_t want, bool bad)
{
	struct trial t = {o, value, want};
	char line[300];
	int status = unit_capture(try_here, &t, said, sizeof(said));
	snprintf(line, sizeof(line), "hakmem: %s=%s ignored: ", o->name, value);
	if (status || strstr(said, "VALUE ") || (bad ? strncmp(said, line, strlen(line)) : said[0]))
		fail_msg("%s=%s, %zu expected: status 0x%x, said: %s", o->name, value, want, status, said);
	if (bad)
		assert_null(strstr(said + 1, "hakmem: ")); /* once */
}

static void presets_are_the_tables(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(table); i++)
		if (table[i].kind != TEXT)
			assert_int_equal(value_of(&table[i]), table[i].preset);
}

static void numbers(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "x", "1x", "-1", "+1", " 1", "1 ", "0x10", "1.5", "1k",
					  "18446744073709551616", "99999999999999999999999"};
	for (size_t i = 0; i < COUNT_OF(table); i++) {
		const struct option *o = &table[i];
		char text[40];
		if (o->kind != NUMBER)
			continue;
		for (size_t k = 0; k < COUNT_OF(bad); k++)
			expect(o, bad[k], o->preset, true);
		snprintf(text, sizeof(text), "%zu", o->least);
		expect(o, text, o->least, false);
		snprintf(text, sizeof(text), "%zu", o->most);
		expect(o, text, o->most, false);
		snprintf(text, sizeof(text), "%zu", o->most + 1);
		expect(o, text, o->preset, true);
		snprintf(text, sizeof(text), "000%zu", o->least);
		expect(o, text, o->least, false);
		if (o->least) {
			snprintf(text, sizeof(text), "%zu", o->least - 1);
			expect(o, text, o->preset, true);
		}
	}
}

static void numbers_that_fit_the_machine(void **state)
{
	(void)state;
	unsigned some = 0;
	for (size_t i = 0; i < COUNT_OF(table); i++) {
		const struct option *o = &table[i];
		if (o->kind != NUMBER)
			continue;
		bool has = o->preset == HK_AUTO;
		some += has;
		expect(o, "auto", o->preset, !has);
		expect(o, "AUTO", o->preset, true);
		expect(o, "18446744073709551615", o->preset, true);
	}
	assert_true(some > 0);
}

/* The words of a choice stand before the colons of its help. */
static void choices(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(table); i++) {
		const struct option *o = &table[i];
		const char *at = o->help;
		if (o->kind != CHOICE)
			continue;
		for (size_t n = 0; n <= o->most; n++) {
			char word[40];
			assert_non_null(at);
			snprintf(word, sizeof(word), "%.*s", (int)strcspn(at, ":"), at);
			expect(o, word, n, false);
			strcat(word, "x");
			expect(o, word, o->preset, true);
			word[strlen(word) - 2] = 0;
			expect(o, word, o->preset, true);
			at = strstr(at, "; ");
			at = at ? at + 2 : NULL;
		}
		expect(o, "", o->preset, true);
		expect(o, "1", o->preset, true);
	}
}

static void unknown_here(void *arg)
{
	(void)arg;
	setenv("HAKMEM_WARMMIB", "3", 1);
	setenv("HAKMEM_", "", 1);
	setenv("HAKMEMX", "1", 1); /* not ours */
	setenv("XHAKMEM_WARM_MIB", "1", 1);
	hk_options_read();
}

static unsigned times(const char *text, const char *what)
{
	unsigned n = 0;
	for (; (text = strstr(text, what)); text++)
		n++;
	return n;
}

static void unknown_ones_are_named_once(void **state)
{
	(void)state;
	assert_int_equal(unit_capture(unknown_here, NULL, said, sizeof(said)), 0);
	assert_int_equal(times(said, "unknown option ignored: HAKMEM_WARMMIB=3\n"), 1);
	assert_int_equal(times(said, "unknown option ignored: HAKMEM_=\n"), 1);
	assert_int_equal(times(said, "\n"), 2);
}

/* ---- profiles: what a process prints ---- */

struct setting {
	const char *name, *value;
};

static void again(void *arg)
{
	const struct setting *s = arg;
	for (; s->name; s++)
		setenv(s->name, s->value, 1);
	setenv("HAKMEM_VERBOSE", "1", 1);
	execl("/proc/self/exe", "options_test", "--print", NULL);
	_exit(1);
}

/* Starts this program with SETTINGS; what it printed is in SAID. */
static void print_with(const struct setting *settings)
{
	assert_int_equal(unit_capture(again, (void *)settings, said, sizeof(said)), 0);
}

static void expect_line(const char *name, const char *value, const char *origin)
{
	const struct option *o = table;
	char line[300];
	while (o < table + COUNT_OF(table) && strcmp(o->name, name))
		o++;
	if (o == table + COUNT_OF(table))
		fail_msg("no option %s", name);
	bool bare = !*o->unit || !strcmp(value, "auto");
	snprintf(line, sizeof(line), "hakmem: %s=%s%s%s (%s)\n", name, value, bare ? "" : " ", bare ? "" : o->unit,
		 origin);
	if (!strstr(said, line))
		fail_msg("not printed: %s in:\n%s", line, said);
}

/* Each NAME=VALUE of the file, printed with ORIGIN; how many. */
static unsigned expect_file(const char *path, const char *origin)
{
	char line[300];
	unsigned n = 0;
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		char *value = strchr(line, '=');
		if (line[0] == '#' || !value)
			continue;
		line[strcspn(line, "\n")] = 0;
		*value++ = 0;
		expect_line(line, value, origin);
		n++;
	}
	fclose(f);
	return n;
}

static void profiles_change_what_they_say(void **state)
{
	(void)state;
	DIR *dir = opendir(UNIT_CONFIG);
	unsigned profiles = 0;
	assert_non_null(dir);
	for (struct dirent *e; (e = readdir(dir));) {
		char name[300], path[600];
		const char *dot = strstr(e->d_name, ".conf");
		if (!dot || dot[5])
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)(dot - e->d_name), e->d_name);
		snprintf(path, sizeof(path), "%s/%s", UNIT_CONFIG, e->d_name);
		struct setting by_name[] = {{"HAKMEM_PROFILE", name}, {NULL, NULL}};
		struct setting by_path[] = {{"HAKMEM_PROFILE", path}, {NULL, NULL}};
		for (unsigned way = 0; way < 2; way++) {
			print_with(way ? by_path : by_name);
			unsigned n = expect_file(path, "profile");
			assert_true(n > 0);
			assert_int_equal(times(said, "(profile)\n"), n); /* and nothing else */
			assert_int_equal(times(said, "ignored"), 0);
		}
		profiles++;
	}
	closedir(dir);
	assert_true(profiles >= 5);
}

static void default_profile_changes_nothing(void **state)
{
	(void)state;
	struct setting none[] = {{NULL, NULL}};
	print_with(none);
	assert_true(expect_file(UNIT_CONFIG "/default.conf", "default") > 0);
}

static void variables_win_over_profiles(void **state)
{
	(void)state;
	struct setting both[] = {{"HAKMEM_WARM_MIB", "77"}, {"HAKMEM_PROFILE", "memory"},
				 {"HAKMEM_DECAY_MS", "x"}, {NULL, NULL}};
	print_with(both);
	expect_line("HAKMEM_WARM_MIB", "77", "environment");
	expect_line("HAKMEM_HUGE", "never", "profile");
	assert_int_equal(times(said, "HAKMEM_DECAY_MS=x ignored"), 1);
	expect_line("HAKMEM_DECAY_MS", "100", "profile"); /* as memory.conf says */
}

static void bad_profiles_are_named_once(void **state)
{
	(void)state;
	static const char *const names[] = {"nonesuch", "/nonexistent/file.conf", "", "memory.conf"};
	struct setting none[] = {{NULL, NULL}};
	print_with(none);
	unsigned by_default = times(said, "(default)\n");
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		struct setting one[] = {{"HAKMEM_PROFILE", names[i]}, {NULL, NULL}};
		print_with(one);
		if (names[i][0])
			assert_int_equal(times(said, " ignored: "), 1);
		assert_int_equal(times(said, "(profile)\n"), 0);
		assert_true(times(said, "(default)\n") >= by_default - 1);
	}
}

/* What was ignored is not in force, and is not said to be. */
static void texts_that_are_too_long(void **state)
{
	(void)state;
	static char lengthy[1000];
	memset(lengthy, '/', sizeof(lengthy) - 1);
	struct setting log[] = {{"HAKMEM_LOG", lengthy}, {NULL, NULL}};
	print_with(log);
	assert_int_equal(times(said, "HAKMEM_LOG=/"), 1);
	assert_int_equal(times(said, "HAKMEM_LOG= (default)\n"), 1);
	struct setting profile[] = {{"HAKMEM_PROFILE", lengthy}, {NULL, NULL}};
	print_with(profile);
	assert_int_equal(times(said, "HAKMEM_PROFILE=/"), 1); /* ignored */
	assert_int_equal(times(said, "HAKMEM_PROFILE= (default)\n"), 1);
	struct setting none[] = {{"HAKMEM_PROFILE", "nonesuch"}, {NULL, NULL}};
	print_with(none);
	assert_int_equal(times(said, "HAKMEM_PROFILE= (default)\n"), 1);
}

static void lines_of_a_profile(void **state)
{
	(void)state;
	char path[] = "/tmp/hakmem-options-XXXXXX";
	static const char text[] = "# comment\n\n  HAKMEM_WARM_MIB=9 \t# why\nHAKMEM_NONE=1\r\nnonsense\n"
				   "HAKMEM_STARTER_MIB\t = 7\r\n"
				   "HAKMEM_BIN_KIB=3\nHAKMEM_PROFILE=memory\nHAKMEM_DECAY_MS=5";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	struct setting one[] = {{"HAKMEM_PROFILE", path}, {NULL, NULL}};
	print_with(one);
	unlink(path);
	expect_line("HAKMEM_WARM_MIB", "9", "profile");
	expect_line("HAKMEM_DECAY_MS", "5", "profile");
	expect_line("HAKMEM_STARTER_MIB", "7", "profile");
	assert_int_equal(times(said, ", line 4: unknown option ignored: HAKMEM_NONE=1\n"), 1);
	assert_int_equal(times(said, ", line 5: unknown option ignored: nonsense\n"), 1);
	assert_int_equal(times(said, "unknown option ignored: HAKMEM_PROFILE=memory\n"), 1);
	assert_int_equal(times(said, ", line 7: HAKMEM_BIN_KIB=3 ignored: "), 1); /* below its least */
	/* Larger than fits: refused as a whole. */
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	for (unsigned i = 0; i < 300; i++)
		assert_int_equal(write(fd, "HAKMEM_WARM_MIB=9\n", 18), 18);
	print_with(one);
	unlink(path);
	assert_int_equal(times(said, " ignored: the file is larger"), 1);
	assert_int_equal(times(said, "(profile)\n"), 0);
}

/* Nobody writes to it: opening it must not wait. */
static void a_profile_that_is_a_fifo(void **state)
{
	(void)state;
	char dir[] = "/tmp/hakmem-options-XXXXXX", path[60];
	struct setting one[] = {{"HAKMEM_PROFILE", path}, {NULL, NULL}};
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	print_with(one);
	unlink(path);
	rmdir(dir);
	assert_int_equal(times(said, "fifo ignored: it cannot be read, or is no file\n"), 1);
	assert_int_equal(times(said, "(profile)\n"), 0);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(presets_are_the_tables),
		cmocka_unit_test(numbers),
		cmocka_unit_test(numbers_that_fit_the_machine),
		cmocka_unit_test(choices),
		cmocka_unit_test(unknown_ones_are_named_once),
		cmocka_unit_test(profiles_change_what_they_say),
		cmocka_unit_test(default_profile_changes_nothing),
		cmocka_unit_test(variables_win_over_profiles),
		cmocka_unit_test(bad_profiles_are_named_once),
		cmocka_unit_test(texts_that_are_too_long),
		cmocka_unit_test(lines_of_a_profile),
		cmocka_unit_test(a_profile_that_is_a_fifo),
	};
	if (argc > 1 && !strcmp(argv[1], "--print"))
		return !hak_malloc(1); /* the report comes at exit */
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
