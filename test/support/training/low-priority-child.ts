/** Was started with the lowest priority, and answers with the one it has while it works. */
import { getPriority, setPriority } from 'node:os'
import { takeJob } from '../../../activities/runtime/child-protocol.ts'

setPriority(19)
takeJob(() => Promise.resolve(getPriority()))
