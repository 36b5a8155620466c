/** Generates the reference page of errors from the error table and its comments. */
import { errorTable, type ErrorCode } from '../../../domain/errors.ts'
import { readDeclarations } from './members.ts'
import { markdownCode, markdownTable } from '../../../test/support/docs/markdown-table.ts'

export function errorsPage(): string {
  const entries = readDeclarations('domain/errors.ts').tables.get('errorTable') ?? []
  const headings = [...new Set(entries.map(({ heading }) => heading ?? ''))]
  return [
    '# Errors',
    '',
    'The API responds to an error with `application/problem+json` (RFC 9457), which has `code`, `detail`, `remedy` and `retryable`;',
    'the command line prints the same. Match the code, never the sentence. "Again" says whether the same call may succeed later;',
    'such responses with 429 or 5xx have `Retry-After`. Under `/v2/` the body is that of the Open Inference Protocol, with the code.',
    '',
    ...headings.flatMap((heading) => [
      `## ${heading.replace(/\.$/, '')}`,
      '',
      markdownTable(
        ['code', 'status', 'again', 'meaning', 'what to do'],
        entries
          .filter((each) => (each.heading ?? '') === heading)
          .map(({ name, meaning }) => {
            if (meaning === '') throw new Error(`the error ${name} has no comment that says what it means`)
            const { status, retryable, remedy } = errorTable[name as ErrorCode]
            return [markdownCode(name), String(status), retryable ? 'yes' : 'no', meaning, remedy]
          }),
      ),
      '',
    ]),
  ].join('\n')
}
