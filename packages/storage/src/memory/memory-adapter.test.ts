import { describeStorageContract } from '../testing/contract.ts'
import { memoryStorage } from './memory-adapter.ts'

describeStorageContract('memory', { create: memoryStorage, seeds: Array.from({ length: 20 }, (_, i) => i + 1) })
