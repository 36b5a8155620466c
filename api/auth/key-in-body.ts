/** Refuses bodies that hold an API key. */
import { DomainError } from '../../domain/errors.ts'
import { holdsKey } from '../../domain/redact.ts'

const keyMark = Buffer.from('tnr_')

/** Throws for a body that contains an API key. Requests are stored for months, so the key would leak into the prediction log. */
export function requireNoKey(body: Buffer): void {
  if (body.includes(keyMark) && holdsKey(body.toString('latin1')))
    throw new DomainError(
      'invalid_request',
      'the body contains an API key, and request bodies are stored: send keys only in the header "Authorization"',
    )
}
