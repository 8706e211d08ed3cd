export { createClient } from '@syncline/client'
