import type { Contract } from '@syncline/protocol/contract'
import type { SearchedMap } from './compile.ts'

/**
 * What the option `search.maps` has to be, so that the maps of a contract are searched in the fields that it lists under
 * `search`: `createServer({ search: { maps: searchedMaps(contract) } })`. A boost is to be added by hand.
 */
export function searchedMaps({ maps = {} }: Contract): Record<string, SearchedMap & { fields: string[] }> {
  const searched: Record<string, SearchedMap & { fields: string[] }> = {}
  for (const [name, { search = [] }] of Object.entries(maps)) {
    if (search.length > 0) searched[name] = { fields: [...search] }
  }
  return searched
}
