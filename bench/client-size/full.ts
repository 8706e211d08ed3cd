import * as client from '@syncline/client'

// A namespace that is used as a value keeps every export.
export default client
