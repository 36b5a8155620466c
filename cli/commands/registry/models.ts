/** `tenure models`: what the model files say, what is live, and `sync`, which takes a new or edited file in. */
import type { ModelAnswer } from '../../client/responses.ts'
import { exitCodes } from '../../exit-codes.ts'
import type { CommandGroup, CommandSpec } from '../../program.ts'
import { tableOf } from '../../terminal.ts'
import { orDash, short, time } from '../format.ts'

export const modelsGroup: CommandGroup = {
  name: 'models',
  summary: 'models: list, sync',
  commands: [
    {
      name: 'list',
      isDefault: true,
      summary: 'lists the models with their champions',
      examples: ['models', 'models list --json'],
      async run({ terminal, api }) {
        const answer = await api().get<{ models: ModelAnswer[] }>('/v1/models')
        const rows = answer.models.map((each) => [
          each.name,
          orDash(each.champion?.version),
          time(each.champion?.since),
          orDash(each.open_release),
          terminal.paint('dim', orDash(each.about)),
        ])
        terminal.answer(answer, tableOf(['model', 'champion', 'since (UTC)', 'open release', ''], rows))
      },
    },
    {
      name: 'sync',
      summary: 'takes in the model files of this checkout: definitions and schedules',
      examples: ['models sync'],
      async run({ terminal }) {
        const { syncFromCheckout } = await import('../../sync/sync-models.ts')
        const { models, broken, gone } = await syncFromCheckout()
        const lines = [
          ...models.map(({ name, change, schedule }) => `${name.padEnd(24)} ${change}, ${schedule}`),
          ...broken.flatMap(({ file, issues }) => [
            terminal.paint('red', `models/${file} was not taken in:`),
            ...issues.map((issue) => `  ${issue}`),
          ]),
        ]
        lines.push(
          ...gone.flatMap((name) => [
            terminal.paint(
              'yellow',
              `${name.padEnd(24)} file is gone: it serves on, and its schedules are paused`,
            ),
            `  Put models/${name}.ts back and sync again, or leave it so: no version of it is lost, none is made.`,
            `  To answer nobody by its versions any more: \`tenure flags set ${name} fallback --reason "…"\`.`,
          ]),
        )
        terminal.answer({ models, broken, gone }, lines.join('\n'))
        return broken.length === 0 ? exitCodes.done : exitCodes.otherwise
      },
    },
  ],
}

interface LiveStatement {
  by: string
  reason?: string
}

interface LiveRelease {
  id: string
  requestedBy: string
  approvals: LiveStatement[]
  breakGlass?: LiveStatement
}

interface LiveAnswer {
  version: string
  since: string
  until?: string
  previous_version?: string
  cause: string
  actor: string
  reason: string
  artifact_digest: string
  release?: LiveRelease
  /** Of a version that was returned to. */
  earned_by?: LiveRelease
  evaluation?: { id: string; verdict: string; digest: string }
  decisions: { kind: string; stage: string }[]
  audit?: { seq: number; action: string; hash: string }
}

export const liveAtCommand: CommandSpec = {
  name: 'live-at <model> <time>',
  summary: 'says which version was champion at a moment, why, on what evidence, and who had approved it',
  examples: ['live-at iris 2026-03-01T12:00:00Z', 'live-at iris 2026-03-01T12:00:00Z --json'],
  async run({ terminal, api }, { args }) {
    const [model, at] = args
    const answer = await api().get<LiveAnswer>(`/v1/models/${encodeURIComponent(String(model))}/champion`, {
      at,
    })
    const { release, evaluation, decisions, audit } = answer
    // Whoever approved the version that was taken back has not approved this one.
    const earned = answer.cause === 'rollback' ? answer.earned_by : release
    const said = (each: LiveStatement) => `${each.by}${each.reason ? ` (${each.reason})` : ''}`
    const verdict = decisions[0]
    const facts = [
      [
        'champion',
        `${answer.version}, ${time(answer.since)} to ${answer.until ? time(answer.until) : 'now'} (UTC)`,
      ],
      ['instead of', orDash(answer.previous_version)],
      ['by', `${answer.cause} (${answer.actor}): ${answer.reason}`],
      ['artifact', short(answer.artifact_digest)],
      [
        'evaluation',
        evaluation ? `${evaluation.verdict} (${evaluation.id}, ${short(evaluation.digest)})` : '–',
      ],
      ['release', release ? `${release.id}, asked for by ${release.requestedBy}` : '–'],
      ...(earned && earned !== release ? [['had earned it by', earned.id]] : []),
      ['approved by', orDash(earned?.approvals.map(said).join(', '))],
      ...(earned?.breakGlass ? [['glass broken by', said(earned.breakGlass)]] : []),
      ['last verdict', verdict ? `${verdict.kind} in ${verdict.stage}, of ${decisions.length} told` : '–'],
      ['audit', audit ? `row ${audit.seq}, ${audit.action}, ${short(audit.hash)}` : '–'],
    ].map(([name = '', value = '']) => [terminal.paint('dim', name), value])
    terminal.answer(answer, tableOf([], facts))
  },
}
