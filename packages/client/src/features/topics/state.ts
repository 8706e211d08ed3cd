import { topicShapes } from '@syncline/protocol/codec'
import type { AnyTopicDef } from '@syncline/protocol/contract'
import type { Kernel } from '../../feature.ts'
import type { LateFeature } from '../../late.ts'
import type { Topic } from './handle.ts'
import { TopicHandle, topicHub } from './hub.ts'

/** Topics by the names that the contract has for them. */
export function start(kernel: Kernel): LateFeature<AnyTopicDef, Topic<unknown, unknown>> {
  const hub = topicHub(kernel)
  const handles = new Map<string, TopicHandle>()
  return {
    handlers: hub.handlers,
    shapes: topicShapes,
    online: () => hub.online(),
    offline: () => hub.offline(),
    userChanged: () => hub.userChanged(),
    open(name, { schema }) {
      const handle = handles.get(name) ?? new TopicHandle(kernel, name, schema)
      handles.set(name, handle)
      return handle
    },
  }
}
