package guard

import "encoding/json"

// secrets are environment variables as they go over a pipe. Their values need not be UTF-8, as the texts of
// JSON are: they go as base64.
type secrets map[string]string

// MarshalJSON implements json.Marshaler.
func (s secrets) MarshalJSON() ([]byte, error) {
	values := make(map[string][]byte, len(s))
	for name, value := range s {
		values[name] = []byte(value)
	}
	return json.Marshal(values)
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *secrets) UnmarshalJSON(text []byte) error {
	var values map[string][]byte
	if err := json.Unmarshal(text, &values); err != nil {
		return err
	}
	*s = make(secrets, len(values))
	for name, value := range values {
		(*s)[name] = string(value)
	}
	return nil
}
