// Package arg holds declared build arguments and the expansion of ${NAME} in texts.
//
// Start with two calls: [New] declares an argument, and [Expand] substitutes variables in a text.
//
//	target := arg.New("TARGET_ENV", arg.OneOf("development", "production"), arg.Required())
//	path, err := arg.Expand("config-${TARGET_ENV}.yaml", lookup, arg.Options{})
//
// # Grammar
//
// One grammar, that of Dockerfiles, is read in three ways ([QuoteMode]). NAME is a letter or '_' followed by
// letters, digits and '_'.
//
//	$NAME ${NAME}            the value; empty when unset
//	${NAME-w} ${NAME:-w}     w when NAME is unset (with ':' also when it is empty), else the value
//	${NAME+w} ${NAME:+w}     w when NAME is set (with ':' and not empty), else nothing
//	${NAME?w} ${NAME:?w}     the value; [*UnsetError] with the message w when NAME is unset (with ':' or empty)
//	${NAME#p} ${NAME##p}     the value without its shortest (longest) beginning that matches the pattern p
//	${NAME%p} ${NAME%%p}     the value without its shortest (longest) end that matches p
//	${NAME/p/w} ${NAME//p/w} the value with the first match (every match) of p replaced by w; a match is as long as possible
//
// w and p may contain variables in turn. A pattern knows '*' (any text), '?' (any one character) and '\' (takes the next
// character literally); as in BuildKit neither wildcard matches a line feed. Anything else after the name is a
// [*SyntaxError]: there is no ${NAME:=w}, no ${NAME:1}.
//
// # Reading modes
//
//	input           Text (Go strings)         Word (Dockerfile words)    Body (here-documents)
//	'$A'            quotes are ordinary       $A, unexpanded             quotes are ordinary
//	"$A"            quotes are ordinary       value of A                 quotes are ordinary
//	\$A             $A                        $A                         $A
//	\\$A            \ and the value of A      \ and the value of A       \ and the value of A
//	a\b             a\b                       ab ("a\b" keeps it)        ab
//	lone $ or $.    stays                     stays                      stays
//	$1 $$ $@ ${1}   *SyntaxError              variable of that name,     as Word
//	                                          so normally empty
//	${A:-w}, A set  w is not evaluated        w is evaluated, and its    as Word
//	                                          errors are reported
//	${A/p/\$1}      $1                        \ of the replacement       as Word
//	                                          stays; for // it is a
//	                                          template of package regexp
//	${A#\$}         pattern is a dollar sign  *SyntaxError               as Word
//
// Text is strict and has one guarantee more: a text without '$' comes back unchanged. In it a backslash is special
// only in a run of backslashes directly before '$' (inside braces also before '}', and before '/' in ${A/p/w}), where two
// stand for one. Word and Body give what BuildKit's frontend/dockerfile/shell gives, proven by running both on the
// same random texts, except for these deliberate differences:
//
//	input                              BuildKit                       here
//	bytes that are not UTF-8           become U+FFFD                  kept
//	a byte order mark at the start     dropped                        kept
//	words of a${U:-b}                  b: what stands directly        ab
//	                                   before the braces is lost
//	a pattern ending in one "\"       error; with % and %% the "\"  *SyntaxError
//	                                   escapes what it should not
//	results over 1 MiB                 no limit                       error, see Limits
//
// # Limits
//
// Texts and results of more than 1 MiB, braces nested deeper than 100 and patterns that take too long to match are
// refused with an error that wraps [ErrLimit]; the cost of an expansion is bounded whatever the text and the values are.
//
// # Concurrency
//
// Every function may be called from several goroutines, and an [Arg] is an immutable value. A [Lookup] is called from
// the goroutine that called Expand.
package arg
