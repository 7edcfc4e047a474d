package wire

import (
	"errors"
	"unicode/utf16"
	"unicode/utf8"
)

var (
	errTruncated = errors.New("it ends too early")
	errExit      = errors.New(`"exit" is neither 0 nor 1`)
	errNoWords   = errors.New("it fails without an error message")
	errObject    = errors.New("it is not a JSON object")
	errJSON      = errors.New("it is not valid JSON")
	errDeep      = errors.New("it is nested too deeply")
	errUTF8      = errors.New("it is not valid UTF-8")
)

// maxDepth bounds nested objects and arrays.
const maxDepth = 1000

// Members calls visit with every member of a JSON object, in order: the key without quotes (escapes as written) and the raw value.
// The whole text is checked (RFC 8259), also below the first level. visit sees members that come before a fault.
func Members(object []byte, visit func(key, value []byte)) error {
	if !utf8.Valid(object) {
		return errUTF8
	}
	s := scanner{text: object}
	s.space()
	if s.at >= len(object) {
		return errTruncated
	}
	if object[s.at] != '{' {
		return errObject
	}
	if err := s.object(visit, 1); err != nil {
		return err
	}
	s.space()
	if s.at != len(object) {
		return errJSON
	}
	return nil
}

// scanner walks JSON text without building anything.
type scanner struct {
	text []byte
	at   int
}

func (s *scanner) space() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// peek is the next byte after white space, 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

// take consumes b if it comes next.
func (s *scanner) take(b byte) bool {
	if s.peek() != b || s.at >= len(s.text) {
		return false
	}
	s.at++
	return true
}

// fault tells a text that stops from one that is wrong.
func (s *scanner) fault() error {
	if s.at >= len(s.text) {
		return errTruncated
	}
	return errJSON
}

func (s *scanner) value(depth int) error {
	if depth > maxDepth {
		return errDeep
	}
	switch s.peek() {
	case '{':
		return s.object(nil, depth+1)
	case '[':
		return s.array(depth + 1)
	case '"':
		return s.str()
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	return s.number()
}

func (s *scanner) object(visit func(key, value []byte), depth int) error {
	s.at++ // the brace
	if s.take('}') {
		return nil
	}
	for {
		if s.peek() != '"' {
			return s.fault()
		}
		key := s.at + 1
		if err := s.str(); err != nil {
			return err
		}
		keyEnd := s.at - 1
		if !s.take(':') {
			return s.fault()
		}
		s.space()
		value := s.at
		if err := s.value(depth); err != nil {
			return err
		}
		if visit != nil {
			visit(s.text[key:keyEnd], s.text[value:s.at])
		}
		if s.take('}') {
			return nil
		}
		if !s.take(',') {
			return s.fault()
		}
	}
}

func (s *scanner) array(depth int) error {
	s.at++ // the bracket
	if s.take(']') {
		return nil
	}
	for {
		if err := s.value(depth); err != nil {
			return err
		}
		if s.take(']') {
			return nil
		}
		if !s.take(',') {
			return s.fault()
		}
	}
}

func (s *scanner) str() error {
	for s.at++; s.at < len(s.text); s.at++ {
		switch b := s.text[s.at]; {
		case b == '"':
			s.at++
			return nil
		case b < 0x20:
			return errJSON
		case b == '\\':
			n := escapeLength(s.text[s.at:])
			if n == 0 {
				return errJSON
			}
			s.at += n - 1
		}
	}
	return errTruncated
}

// escapeLength is the length of the escape sequence at the start of text, 0 if it is none (RFC 8259 section 7).
func escapeLength(text []byte) int {
	if len(text) < 2 {
		return 0
	}
	switch text[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(text[2:]); ok {
			return 6
		}
	}
	return 0
}

func hex4(text []byte) (r rune, ok bool) {
	if len(text) < 4 {
		return 0, false
	}
	for _, b := range text[:4] {
		switch {
		case '0' <= b && b <= '9':
			r = r<<4 | rune(b-'0')
		case 'a' <= b|0x20 && b|0x20 <= 'f':
			r = r<<4 | rune(b|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

func (s *scanner) word(w string) error {
	if len(s.text)-s.at < len(w) || string(s.text[s.at:s.at+len(w)]) != w {
		return errJSON
	}
	s.at += len(w)
	return nil
}

// number follows the grammar of RFC 8259 section 6.
func (s *scanner) number() error {
	s.char('-')
	if !s.char('0') && s.digits() == 0 {
		return s.fault()
	}
	if s.char('.') && s.digits() == 0 {
		return s.fault()
	}
	if s.char('e') || s.char('E') {
		if !s.char('+') {
			s.char('-')
		}
		if s.digits() == 0 {
			return s.fault()
		}
	}
	return nil
}

// char consumes b if it is the very next byte.
func (s *scanner) char(b byte) bool {
	if s.at < len(s.text) && s.text[s.at] == b {
		s.at++
		return true
	}
	return false
}

func (s *scanner) digits() (n int) {
	for s.at < len(s.text) && '0' <= s.text[s.at] && s.text[s.at] <= '9' {
		s.at++
		n++
	}
	return n
}

// Unquote turns a JSON string, quotes included, into its text. A value that is no string gives false.
func Unquote(value []byte) (string, bool) {
	if len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
		return "", false
	}
	text := value[1 : len(value)-1]
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			out = append(out, text[i])
			continue
		}
		n := escapeLength(text[i:])
		if n == 0 {
			return "", false
		}
		if n == 2 {
			out = append(out, unescaped(text[i+1]))
			i++
			continue
		}
		r, _ := hex4(text[i+2:])
		i += 5
		if utf16.IsSurrogate(r) {
			low := rune(-1)
			if i+2 < len(text) && text[i+1] == '\\' && text[i+2] == 'u' {
				low, _ = hex4(text[i+3:])
			}
			if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
				i += 6
			}
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out), true
}

func unescaped(b byte) byte {
	switch b {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return b
}

// AppendString writes text as a JSON string. Bytes that are not UTF-8 become U+FFFD.
func AppendString(out []byte, text string) []byte {
	const digits = "0123456789abcdef"
	out = append(out, '"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			out = append(out, '\\', byte(r))
		case r < 0x20:
			out = append(out, '\\', 'u', '0', '0', digits[r>>4], digits[r&15])
		default:
			out = utf8.AppendRune(out, r)
		}
	}
	return append(out, '"')
}
