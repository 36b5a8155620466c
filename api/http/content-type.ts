/**
 * Checks the declared media type of a body. A page of another site can send plain text and forms without a CORS preflight, but not JSON,
 * so another type is never parsed as JSON. An absent type is accepted, because many programs send none.
 */
import { DomainError } from '../../domain/errors.ts'

export const json = 'application/json'

/** Returns the declared media type. Throws `unsupported_media_type` when it is not accepted. */
export function requireMediaType(
  contentType: string | undefined | null,
  takes: readonly string[] = [json],
): string | undefined {
  if (contentType === undefined || contentType === null || contentType === '') return undefined
  const [type = '', ...parameters] = contentType.toLowerCase().split(';')
  const media = type.trim()
  const charset = /charset\s*=\s*"?([^"\s]+)/.exec(parameters.join(';'))?.[1]
  const known = takes.includes(media) || (takes.includes(json) && /^application\/[\w.-]+\+json$/.test(media))
  if (!known || (charset !== undefined && charset !== 'utf-8' && charset !== 'utf8'))
    throw new DomainError(
      'unsupported_media_type',
      `the content-type is ${JSON.stringify(contentType.slice(0, 80))}; send ${takes.join(', ')} in UTF-8`,
      { takes },
    )
  return media
}
