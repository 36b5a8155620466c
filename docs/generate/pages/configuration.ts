/**
 * Generates the reference page of configuration from `temporal.config.ts`: variables, ranges and defaults. A variable without a
 * meaning, or a meaning without a variable, is an error.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseSync, Visitor, type CallExpression } from 'oxc-parser'
import { isError } from '../../../domain/errors.ts'
import { namesRead } from '../../../cli/unknown-variables.ts'
import { checkout, readCommandConfig, readConfig } from '../../../temporal.config.ts'
import { markdownCode, markdownTable } from '../../../test/support/docs/markdown-table.ts'
import { setUp, variables } from '../../../test/support/docs/variables.ts'

const good = {
  DATABASE_URL: 'postgres://127.0.0.1/tenure',
  HOME: '/nowhere',
}
/** Those of Temporal's profiles that name a codec are read with the profile and not used. */
const ours = /^(?:TENURE_|TEMPORAL_(?!CODEC_)|DATABASE_URL(?:_FILE)?$|AWS_|WORKER_VERSIONING$|LOG_LEVEL$)/

export function configurationPage(): string {
  const read = [...namesRead(good)].filter((name) => ours.test(name))
  const documented = Object.values(variables).flatMap((group) => Object.keys(group))
  const missing = read.filter((name) => !documented.includes(name))
  const gone = documented.filter((name) => !read.includes(name))
  if (missing.length > 0 || gone.length > 0)
    throw new Error(
      `test/support/docs/variables.ts: without a meaning: ${missing.join(', ') || 'none'}; not read any more: ${gone.join(', ') || 'none'}`,
    )
  const defaults = defaultsInCalls()
  return [
    '# Configuration',
    '',
    'Every variable is read in `temporal.config.ts`, and wrong ones are reported together. On one machine none is needed:',
    '`tenure up` chooses what its processes need and passes it on. The variables `OTEL_…` are those of',
    '[OpenTelemetry](../how-to/machines/opentelemetry.md).',
    '',
    ...Object.entries(variables).flatMap(([group, members]) => [
      `## ${group}`,
      '',
      markdownTable(
        ['variable', 'default', 'values', 'meaning'],
        Object.entries(members).map(([name, [meaning, otherwise]]) => [
          markdownCode(name),
          otherwise ?? defaults.get(name) ?? '',
          rangeOf(name),
          meaning,
        ]),
      ),
      '',
    ]),
    '## Only for the servers of one machine',
    '',
    markdownTable(
      ['variable', 'default', 'meaning'],
      Object.entries(setUp).map(([name, [meaning, otherwise = '']]) => [
        markdownCode(name),
        otherwise,
        meaning,
      ]),
    ),
    '',
  ].join('\n')
}

/** Returns the validation error for a wrong value. */
function rangeOf(name: string): string {
  for (const read of [readConfig, readCommandConfig])
    try {
      read({ ...good, [name]: '?' })
    } catch (error) {
      const issues = isError(error) ? (error.context['issues'] as string[]) : []
      const issue = issues.find((issue) => issue.startsWith(`${name} `))
      const required = /^\S+ is (.+?)(?:, not "\?")?$/.exec(issue ?? '')?.[1]
      if (required !== undefined)
        return required
          .replace(/^one of /, '')
          .replaceAll(/\b\d{5,}\b/g, (digits) => Number(digits).toLocaleString('en'))
    }
  return ''
}

/** Returns the default of each `whole('TENURE_PORT', 7400, …)`: its second argument, if it is a literal. */
function defaultsInCalls(): Map<string, string> {
  const path = 'temporal.config.ts'
  const { program } = parseSync(path, readFileSync(join(checkout, path), 'utf8'))
  const found = new Map<string, string>()
  const visit = ({ callee, arguments: given }: CallExpression) => {
    if (callee.type !== 'Identifier' || !['text', 'whole', 'oneOf'].includes(callee.name)) return
    const [name, fallback] = given
    if (name?.type !== 'Literal' || typeof name.value !== 'string') return
    if (fallback?.type === 'Literal') found.set(name.value, markdownCode(String(fallback.value)))
  }
  new Visitor({ CallExpression: visit }).visit(program)
  return found
}
