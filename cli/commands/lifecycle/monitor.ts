/** `tenure monitor`: judges drift in the recorded history again, with the limits of the edited model file. */
import type { ReferenceProfile } from '../../../domain/model/reference-profile.ts'
import { counted, fourDigits } from '../../../domain/figures.ts'
import {
  backtestDrift,
  falseAlarms,
  type DriftBacktest,
  type FalseAlarms,
} from '../../../domain/monitoring/drift-backtest.ts'
import type { DriftWindow } from '../../../domain/monitoring/drift-window.ts'
import {
  driftPolicyOf,
  referencesOf,
  type CountedHour,
  type DriftTuning,
} from '../../../domain/monitoring/drift-history.ts'
import { path, usageError } from '../../client/client.ts'
import type { CommandGroup, CommandInput, CommandSession } from '../../program.ts'
import { findOwnModel } from '../../own-model.ts'
import { numberOption } from '../../number-option.ts'
import { tableBy } from '../../terminal.ts'

interface CountsAnswer {
  version: string
  profile: ReferenceProfile
  count_ms: number
  span_ms: number
  counts: CountsOfHour[]
  earlier?: CountsOfHour[]
}

type CountsOfHour = { at: string } & DriftWindow

const maxNamed = 3

export const monitorGroup: CommandGroup = {
  name: 'monitor',
  summary: 'Try limits of the monitor on recorded requests',
  commands: [
    {
      name: 'backtest <model>',
      summary: 'Check the drift of the last weeks again, with the present limits of the model file',
      options: [
        ['--days <n>', 'Days before now to check, up to 92 (default: 30)'],
        ['--model-version <version>', 'Version whose requests are checked (default: the champion)'],
        ['--warn <psi>', 'PSI from which drift warns (default: that of the model file)'],
        ['--alarm <psi>', 'PSI from which drift raises an alarm (default: that of the model file)'],
      ],
      examples: [
        'monitor backtest flight-delay',
        'monitor backtest flight-delay --days 60 --alarm 0.3 --json',
      ],
      run: backtest,
    },
  ],
}

async function backtest({ terminal, api }: CommandSession, { args, options }: CommandInput): Promise<void> {
  const model = String(args[0])
  const { monitor } = await findOwnModel(model)
  const days = numberOption(options, 'days', { min: 0.01, max: 92 }) ?? 30
  const given = driftPolicyOf(monitor?.drift)
  const tuning: DriftTuning = {
    ...monitor?.drift,
    warn: numberOption(options, 'warn', { min: 0.001, max: 100 }) ?? given.warn,
    alarm: numberOption(options, 'alarm', { min: 0.001, max: 100 }) ?? given.alarm,
  }
  if (tuning.warn! > tuning.alarm!)
    throw usageError(`--alarm (${tuning.alarm}) must not be below --warn (${tuning.warn})`)
  const version = options['modelVersion']
  const references = referencesOf(tuning)
  const answer = await api().get<CountsAnswer>(path`/v1/models/${model}/feature-counts`, {
    days: String(days),
    ...(references.length > 0 && { before: references.join() }),
    ...(typeof version === 'string' && { version }),
  })
  const lengthMs = Math.ceil((monitor?.spanMs ?? answer.span_ms) / answer.count_ms) * answer.count_ms
  const history = {
    profile: answer.profile,
    hours: answer.counts.map(countedHour),
    earlier: answer.earlier?.map(countedHour),
    everyMs: answer.count_ms,
    lengthMs,
    importance: monitor?.importance,
  }
  const tested = backtestDrift(history, tuning)
  const shuffled = falseAlarms(history, tuning)
  terminal.answer(
    { model, version: answer.version, days, tuning, ...tested, falseAlarms: shuffled },
    [
      `${answer.version}: ${counted(tested.windows, 'window')} with requests in ${days} days, ${tested.judged} with enough rows; warning from PSI ${tuning.warn}, alarm from ${tuning.alarm}.`,
      ...(tested.subjects.length === 0
        ? ['No window would have warned.']
        : [
            `${counted(tested.alerts, 'alarm')} would have been raised, ${Number((tested.alertsPerMonth ?? 0).toPrecision(3))} a month of judged windows.`,
            '',
            tableBy(
              terminal,
              tested.subjects,
              {
                subject: 'name',
                'windows in warning': 'warnings',
                'windows in alarm': 'alarms',
                'alarms from': alarmTimes,
              },
              { keeps: ['windows in alarm'] },
            ),
            '',
          ]),
      falseAlarmText(shuffled),
    ].join('\n'),
  )
}

function alarmTimes({ alarmedMs }: DriftBacktest['subjects'][number]): string {
  const named = alarmedMs.slice(0, maxNamed).map((ms) => new Date(ms).toISOString())
  const more = alarmedMs.length - named.length
  return named.length === 0 ? '–' : `${named.join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}

const countedHour = ({ at, ...counts }: CountsOfHour): CountedHour => ({ hourMs: Date.parse(at), counts })

function falseAlarmText({ within, rounds, judged, alerts, perMonth, atMost }: FalseAlarms): string {
  if (perMonth === null || atMost === null) return 'Too few rows to measure false alarms.'
  // Shuffling the hours of one window changes nothing.
  if (judged <= rounds) return 'Too few windows with enough rows to measure false alarms.'
  return `False alarms: ${alerts} in ${rounds} histories with the hours shuffled within the ${within}, ${fourDigits(perMonth)} a month, at most ${fourDigits(atMost)} (95 %).`
}
