// pmr.cc - standard containers in an arena: a word count whose map, nodes and strings are gone at once.
//
//	pmr [FILE]       the ten most frequent words of FILE (of itself as it was compiled, without one)
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>
#include <unordered_map>
#include <vector>

#include <hakmem/memory_resource.hpp>

static int count(std::istream &in)
{
	hakmem::arena_resource arena(hakmem::options().name("words").initial(16 << 20).populate_now());
	std::pmr::unordered_map<std::pmr::string, int> seen(&arena);
	std::pmr::string word(&arena);
	while (in >> word)
		seen[word]++;
	std::pmr::vector<std::pair<int, const std::pmr::string *>> order(&arena);
	for (const auto &[text, n] : seen)
		order.emplace_back(n, &text);
	std::sort(order.begin(), order.end(), [](const auto &a, const auto &b) {
		return a.first != b.first ? a.first > b.first : *a.second < *b.second;
	});
	for (std::size_t i = 0; i < order.size() && i < 10; i++)
		std::printf("%6d %s\n", order[i].first, order[i].second->c_str());
	if (seen.empty()) {
		std::puts("no words");
		return 1;
	}
	bool all = hak_arena_owner(&*seen.begin()) == arena.handle();
	std::printf("%zu words, %s\n", seen.size(), all ? "all in the arena" : "NOT in the arena");
	return !all;
}

int main(int argc, char **argv)
{
	std::ifstream in(argc > 1 ? argv[1] : __FILE__);
	if (argc > 2) {
		std::fprintf(stderr, "usage: pmr [FILE]\n");
		return 2;
	}
	if (!in) {
		std::fprintf(stderr, "pmr: %s can't be read\n", argc > 1 ? argv[1] : __FILE__);
		return 2;
	}
	return count(in);
}
