/**
 * What a body says it is. A page in somebody's browser can make it send plain text and forms to this machine without asking
 * anybody, but not JSON; so a body that says it is something else is not read as JSON. One that says nothing comes from a
 * program: many of them send none.
 */
import { DomainError } from '../../domain/errors.ts'

export const json = 'application/json'

/** The media type that was sent, when it is one of these. Throws `unsupported_media_type`. */
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
      `the body is said to be ${JSON.stringify(contentType.slice(0, 80))}; this takes ${takes.join(', ')} in UTF-8`,
      { takes },
    )
  return media
}
