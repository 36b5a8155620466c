/** `tenure kill-switches`: sets the kill switch of a model. It works during a release and while Temporal is down. */
import { failure } from '../../client/client.ts'
import { exitCodes } from '../../exit-codes.ts'
import { flagNames } from '../../../domain/serving/kill-switch.ts'
import type { CommandGroup } from '../../program.ts'
import { tableOf } from '../../terminal.ts'
import { time } from '../format.ts'

interface KillSwitchAnswer {
  model: string
  serve: string
  reason: string
  actor: string
  revision: number
  at: string
  means: string
  problems: string[]
}

export const killSwitchesGroup: CommandGroup = {
  name: 'kill-switches',
  summary: 'Pin a model to its champion or fallback (kill switch)',
  commands: [
    {
      name: 'list',
      isDefault: true,
      summary: 'List kill switches and the replicas that lag behind',
      examples: ['kill-switches', 'kill-switches list --json'],
      async run({ terminal, api }) {
        const answer = await api().get<{ kill_switches: KillSwitchAnswer[] }>('/v1/kill-switches')
        const rows = answer.kill_switches.map((each) => [
          each.model,
          each.serve,
          each.actor,
          time(each.at),
          each.reason,
          each.problems.length === 0 ? 'all replicas' : each.problems.join('; '),
        ])
        terminal.answer(answer, tableOf(['model', 'serves', 'by', 'since', 'reason', 'followed by'], rows))
      },
    },
    {
      name: 'set <model> <serve>',
      summary: `Set the kill switch of a model: ${flagNames.join(', ')}`,
      options: [['--reason <text>', 'Reason, stored in the audit log']],
      examples: [
        'kill-switches set iris champion --reason "the canary looks wrong"',
        'kill-switches set iris fallback --reason "bad data upstream"',
        'kill-switches set iris normal --reason "over"',
      ],
      async run({ terminal, api }, { args, options }) {
        const [model, serve] = args
        const { reason } = options
        if (!flagNames.some((each) => each === serve))
          throw failure({
            code: 'usage',
            detail: `<serve> must be one of ${flagNames.join(', ')}, not ${serve}`,
          })
        if (typeof reason !== 'string' || reason === '')
          throw failure({
            code: 'usage',
            detail: '--reason is missing',
          })
        const answer = await api().put<KillSwitchAnswer>(
          `/v1/kill-switches/${encodeURIComponent(String(model))}`,
          {
            serve,
            reason,
          },
        )
        const followed =
          answer.problems.length === 0
            ? 'Every live replica follows.'
            : `Replicas catching up: ${answer.problems.join('; ')}`
        terminal.answer(answer, `${answer.model}: ${answer.serve}. ${answer.means}\n${followed}`)
        return answer.problems.length === 0 ? exitCodes.done : exitCodes.otherwise
      },
    },
  ],
}
