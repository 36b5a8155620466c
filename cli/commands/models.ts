/** `tenure models`: what the model files say, what is live, and `sync`, which takes a new or edited file in. */
import type { ModelAnswer, VersionAnswer } from '../answers.ts'
import { exitCodes } from '../exit.ts'
import type { CommandGroup, CommandSpec } from '../program.ts'
import { tableOf } from '../terminal.ts'
import { orDash, short, time } from './words.ts'

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
        const { syncFromCheckout } = await import('../sync.ts')
        const { models, broken } = await syncFromCheckout()
        const lines = [
          ...models.map(({ name, change, schedule }) => `${name.padEnd(24)} ${change}, ${schedule}`),
          ...broken.flatMap(({ file, issues }) => [
            terminal.paint('red', `models/${file} was not taken in:`),
            ...issues.map((issue) => `  ${issue}`),
          ]),
        ]
        terminal.answer({ models, broken }, lines.join('\n'))
        return broken.length === 0 ? exitCodes.done : exitCodes.otherwise
      },
    },
  ],
}

export const versionsCommand: CommandSpec = {
  name: 'versions [model]',
  summary: 'lists registered versions, the newest first',
  examples: ['versions', 'versions iris --json'],
  async run({ terminal, api }, { args }) {
    const answer = await api().get<{ versions: VersionAnswer[] }>('/v1/versions', { model: args[0] })
    const rows = answer.versions.map((each) => [
      each.version,
      time(each.created_at),
      each.created_by,
      short(each.artifact_digest),
      time(each.proven_at),
      time(each.withdrawn_at),
    ])
    terminal.answer(
      answer,
      rows.length === 0
        ? 'No version yet. `tenure retrain <model>` makes one.'
        : tableOf(['version', 'created (UTC)', 'asked for by', 'artifact', 'proven', 'withdrawn'], rows),
    )
  },
}

export const liveAtCommand: CommandSpec = {
  name: 'live-at <model> <time>',
  summary: 'says which version was champion at a moment, and by what change',
  examples: ['live-at iris 2026-03-01T12:00:00Z'],
  async run({ terminal, api }, { args }) {
    const [model, at] = args
    const answer = await api().get<{
      version: string
      at: string
      cause: string
      actor: string
      reason: string
    }>(`/v1/models/${encodeURIComponent(String(model))}/champion`, { at })
    terminal.answer(
      answer,
      `${answer.version}, since ${time(answer.at)} by ${answer.cause} (${answer.actor}): ${answer.reason}`,
    )
  },
}
