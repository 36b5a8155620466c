/**
 * What a person can say to a release: `tenure approve` and its siblings. An approval names the bytes, the evidence and
 * the policy that were shown, and is refused when the release is no longer about them.
 */
import { randomUUID } from 'node:crypto'
import type { ReleaseAnswer } from '../client/responses.ts'
import type { CommandSpec } from '../program.ts'
import { isDeferredAnswer, deferredText, type Answered } from './deferred.ts'
import { releaseIdOf } from './lifecycle/releases.ts'
import { short } from './format.ts'

interface Said {
  name: string
  /** The API's word for it. */
  path: string
  summary: string
}

const words: readonly Said[] = [
  {
    name: 'approve',
    path: 'approve',
    summary: 'approves a release that waits for it, or decides an undecided stage',
  },
  { name: 'reject', path: 'reject', summary: 'refuses a release, or takes back an undecided one' },
  {
    name: 'pause',
    path: 'pause',
    summary: 'stops the clock of a stage; a verdict against it still takes it back',
  },
  { name: 'resume', path: 'resume', summary: 'goes on after a pause, or gives an undecided stage more time' },
  { name: 'abort', path: 'abort', summary: 'ends a release, or its waiting for a turn; the champion stays' },
  {
    name: 'promote-now',
    path: 'promote-now',
    summary: 'break-glass: past approvals and waiting, by the callers of one share to all, with a reason',
  },
]

export const releaseCommands: readonly CommandSpec[] = words.map(({ name, path, summary }) => ({
  name: `${name} <release>`,
  summary,
  options: [['--reason <text>', 'why; it stands in the audit']],
  examples: [`${name} rel_01h…`, `${name} flight-delay --reason "checked with the desk"`],
  async run({ terminal, api }, { args, options }) {
    const reason = options['reason'] === undefined ? {} : { reason: options['reason'] }
    const headers = { 'idempotency-key': randomUUID() }
    const named = String(args[0])
    if (named.startsWith('wait_')) {
      const place = `/v1/releases/${encodeURIComponent(named)}/${path}`
      const answer = await api().post<Answered>(place, reason, headers)
      return terminal.answer(answer, answer.message)
    }
    const id = await releaseIdOf(api(), named)
    const release = await api().get<ReleaseAnswer>(`/v1/releases/${encodeURIComponent(id)}`)
    const answer = await api().post<Answered>(
      `/v1/releases/${encodeURIComponent(id)}/${path}`,
      {
        ...reason,
        artifact_digest: release.artifact_digest,
        evaluation_digest: release.evaluation_digest,
        policy_digest: release.policy_digest,
      },
      headers,
    )
    const { accepted, message, stage = '' } = answer
    const said = `${release.version}: ${message} (${stage}, artifact ${short(release.artifact_digest)})`
    terminal.answer(
      isDeferredAnswer(answer) ? answer : { release: id, accepted, message, stage },
      isDeferredAnswer(answer) ? deferredText(release.version, answer) : said,
    )
  },
}))

export const rollbackCommand: CommandSpec = {
  name: 'rollback <release-or-model>',
  summary: 'takes a release back, or returns a model to its last proven version',
  options: [['--reason <text>', 'why; it stands in the audit']],
  examples: [
    'rollback rel_01h… --reason "complaints"',
    'rollback flight-delay --reason "wrong unit upstream"',
  ],
  async run({ terminal, api }, { args, options }) {
    const named = String(args[0])
    const body = options['reason'] === undefined ? {} : { reason: options['reason'] }
    const headers = { 'idempotency-key': randomUUID() }
    const path = named.startsWith('rel_')
      ? `/v1/releases/${encodeURIComponent(named)}/rollback`
      : `/v1/models/${encodeURIComponent(named)}/rollback`
    const answer = await api().post<Answered>(path, body, headers)
    terminal.answer(answer, isDeferredAnswer(answer) ? deferredText(named, answer) : answer.message)
  },
}
