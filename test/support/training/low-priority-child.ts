/** Starts with the lowest priority and replies with its priority during work. */
import { getPriority, setPriority } from 'node:os'
import { takeJob } from '../../../activities/runtime/child-protocol.ts'

setPriority(19)
takeJob(() => Promise.resolve(getPriority()))
