/** Checks that the broker clients load on this version of Node.js. */
import { DomainError } from '../../domain/errors.ts'

/** Throws for a version of Node.js on which the Kafka client does not load. */
export function requireNewNode(version: string): void {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major > 24 || (major === 24 && minor >= 6) || major === 23 || (major === 22 && minor >= 22)) return
  throw new DomainError(
    'configuration_invalid',
    `TENURE_STREAMS: streams need Node.js 22.22 or 24.6 and later, not ${version}`,
  )
}
