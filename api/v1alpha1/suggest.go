package v1alpha1

import (
	"strings"
)

// nearest returns the candidate that differs least from word, or "" when none is close enough to be meant.
func nearest(word string, candidates []string) string {
	best, bestAt := "", len(word)/2+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d < bestAt {
			best, bestAt = c, d
		}
	}
	return best
}

// maxWord bounds distance's work on words that are no words.
const maxWord = 64

// distance is the number of single-byte insertions, removals and exchanges between a and b (Levenshtein 1965).
func distance(a, b string) int {
	if len(a) > maxWord || len(b) > maxWord {
		return maxWord + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			exchange := diagonal
			if a[i] != b[j] {
				exchange++
			}
			diagonal = row[j+1]
			row[j+1] = min(exchange, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// didYouMean is the advice for an unknown word among known ones.
func didYouMean(word string, known []string) string {
	if n := nearest(word, known); n != "" {
		return "did you mean " + n + "?"
	}
	return "known here: " + strings.Join(known, ", ")
}
