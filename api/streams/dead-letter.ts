/** Builds the dead letter for a record that cannot be used: the record unchanged, with the reason in its headers. */
import { isError } from '../../domain/errors.ts'
import { redacted } from '../../domain/redact.ts'
import { idOfSent, type SentRecord, type StreamRecord } from './stream.ts'

const maxReason = 1_000

export function deadLetter(topic: string, group: string, record: StreamRecord, error: unknown): SentRecord {
  const { key, value, place } = record
  // The message of an unexpected error may contain values of the record or of the system.
  const [code, reason] = isError(error)
    ? [error.code, error.message]
    : ['internal', 'an unexpected error occurred']
  const headers = {
    'tenure-source': place,
    'tenure-error': code,
    'tenure-reason': redacted(reason).slice(0, maxReason),
  }
  const id = idOfSent(group, record)
  // With its reason, the record may be larger than the topic allows. Without an end, the stream would try to send it.
  const bare = { 'tenure-reason': `too large for this topic, so left out: ${headers['tenure-reason']}` }
  return {
    topic,
    key,
    value,
    headers,
    id,
    instead: () => ({ topic, key: undefined, value: empty, headers: { ...headers, ...bare }, id }),
  }
}

const empty = Buffer.alloc(0)
