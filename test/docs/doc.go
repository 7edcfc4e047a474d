// Package docs holds the documents to their word: links lead somewhere, commands exist, examples are accepted.
package docs
