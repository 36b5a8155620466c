/** `tenure kill-switches`: sets the kill switch of a model. It works during a release and while Temporal is down. */
import { path, usageError } from '../../client/client.ts'
import type { KillSwitchAnswer } from '../../client/responses.ts'
import { exitCodes } from '../../exit-codes.ts'
import { flagNames } from '../../../domain/serving/kill-switch.ts'
import { confirm, yesOption } from '../confirm.ts'
import type { CommandGroup } from '../../program.ts'
import { listCommand } from '../list.ts'

export const killSwitchesGroup: CommandGroup = {
  name: 'kill-switches',
  summary: 'Pin a model to its champion or fallback (kill switch)',
  commands: [
    listCommand<KillSwitchAnswer>({
      summary: 'List kill switches and the replicas that do not follow them yet',
      examples: ['kill-switches', 'kill-switches list --json'],
      path: '/v1/kill-switches',
      field: 'kill_switches',
      none: 'No kill switch has been set.',
      pages: 'all',
      keeps: ['serves'],
      droppable: ['since', 'followed by'],
      columns: {
        model: 'model',
        serves: 'serve',
        by: 'actor',
        since: 'at',
        reason: 'reason',
        'followed by': ({ problems }) => (problems.length === 0 ? 'all replicas' : problems.join('; ')),
      },
    }),
    {
      name: 'set <model> <serve>',
      values: { serve: flagNames },
      summary: `Set the kill switch of a model: ${flagNames.join(', ')}`,
      options: [['--reason <text>', 'Reason, required, stored in the audit log'], yesOption],
      examples: [
        'kill-switches set iris champion --reason "the canary looks wrong"',
        'kill-switches set iris fallback --reason "bad data upstream"',
        'kill-switches set iris normal --reason "over"',
      ],
      async run({ terminal, api }, { args, options }) {
        const [model, serve] = args
        const { reason } = options
        if (!flagNames.some((each) => each === serve))
          throw usageError(`<serve> must be one of ${flagNames.join(', ')}, not ${serve}`)
        if (typeof reason !== 'string' || reason === '') throw usageError('--reason is missing')
        let revision: number | undefined
        await confirm(terminal, options, async () => {
          await api().get(path`/v1/models/${model}`)
          if (serve !== 'normal') return `All traffic of ${model}: serve ${serve}?`
          const { kill_switches: all } = await api().get<{ kill_switches: KillSwitchAnswer[] }>(
            '/v1/kill-switches',
          )
          const now = all.find((each) => each.model === model)
          // The revision that the user was shown, so that a switch set meanwhile is not overwritten.
          revision = now?.revision ?? 0
          const what = now === undefined ? '' : ` (${now.serve}, set by ${now.actor}: ${now.reason})`
          return `End the kill switch of ${model}${what}?`
        })
        const body = { serve, reason, revision }
        const answer = await api().put<KillSwitchAnswer>(path`/v1/kill-switches/${model}`, body)
        const { problems } = answer
        const followed =
          problems.length === 0
            ? 'Every live replica follows.'
            : `Replicas catching up: ${problems.join('; ')}`
        terminal.answer(answer, `${answer.model}: ${answer.serve}. ${answer.means}\n${followed}`)
        return problems.length === 0 ? exitCodes.done : exitCodes.otherwise
      },
    },
  ],
}
