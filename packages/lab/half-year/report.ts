/** Formats the half-year as tables, from client responses, Postgres and the baselines. */
import { outcomeText } from '../../../domain/evaluation/verdict-words.ts'
import {
  figureTable as table,
  machine,
  sumBy,
  roundedNumber as whole,
} from '../../../test/support/figures.ts'
import { studentTwoSidedQuantile } from '@tenure/sequential'
import { usageCell } from '../../../test/support/servers/processes.ts'
import type { HalfYear } from './run.ts'
import type { WeekReport } from './settings.ts'
import { dayMs, hourMs } from './clock.ts'
import { contenders, names, type Contender } from './contenders.ts'
import { momentsOf } from './resource-usage.ts'

const four = (value: number | null | undefined): string =>
  value === null || value === undefined ? '–' : value.toFixed(4)
const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10)
const moment = (ms: number): string => new Date(ms).toISOString().slice(0, 16).replace('T', ' ')
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`

/** The mean over weeks: a pooled AUC would also compare flights of different weeks. */
function mean(
  weeks: readonly WeekReport[],
  of: (week: WeekReport) => number | null | undefined,
): number | null {
  const values = weeks.map(of).filter((value): value is number => value !== null && value !== undefined)
  return values.length === 0 ? null : sumBy(values, Number) / values.length
}

export function reportPage(lived: HalfYear, { tookMs, chart }: { tookMs: number; chart: string }): string {
  const { clock, weeks, plan } = lived
  const asked = lived.retrainings.slice(1)
  const trained = asked.filter(({ outcome }) => outcome !== 'throttled')
  return [
    '# Half a year without an operator',
    '',
    `Made by \`npm run bench -- halfyear\` in ${minutes(tookMs)} on ${machine}, with other work beside it.`,
    '',
    `${whole(sumBy(weeks, ({ rows }) => rows))} real flights from ${day(weeks[0]?.fromMs ?? 0)} to the end of June 2001 were predicted at their`,
    'moment, on the system as it ships: embedded Postgres and Temporal, both workers, one replica. The outcome of each flight was sent',
    'when it became known, hours later. An approver approved the first version; no operator acted afterwards.',
    '',
    `![AUC by week](${chart})`,
    '',
    '## Quality compared',
    '',
    ...table(
      ' | AUC, mean of the weeks | Brier, mean of the weeks | worst week AUC | trainings | versions released | failed requests',
      contenders.map((name) => summary(lived, name, trained.length)),
    ),
    '',
    '*Never retrained* keeps the first version. *Retrained weekly* is a new version each Monday, trained by the same trainer on',
    'the same kind of snapshot and used at once, without a gate; its training takes no time here, which favours it. *Tenure* is what',
    'callers received. A failed request received an error or no response.',
    ...harm(lived),
    '',
    'The differences of Tenure from the others, of the same flights week by week, with intervals of 95 % (Student):',
    '',
    ...table(
      'Tenure minus | AUC | Brier (below 0 is better)',
      (['never', 'weekly'] as const).map((other) => [
        names[other],
        differenceOf(weeks, other, 'auc'),
        differenceOf(weeks, other, 'brier'),
      ]),
    ),
    '',
    '## Week by week',
    '',
    ...table(
      [
        'week of',
        'flights',
        'late',
        ...contenders.map((name) => `AUC ${names[name]}`),
        ...contenders.map((name) => `Brier ${names[name]}`),
        'served by',
      ],
      weeks.map((week) => [
        day(week.fromMs),
        whole(week.rows),
        percent(week.lateShare),
        ...contenders.map((name) => best(week, name, 'auc')),
        ...contenders.map((name) => best(week, name, 'brier')),
        week.versions.map(([version]) => short(version)).join(', '),
      ]),
    ),
    '',
    '## Windows of the monitor',
    '',
    'Each window is a recorded day, evaluated over the outcomes of the seven days that had matured by then. The table has the last one of each week.',
    '',
    ...table(
      'window to | champion | AUC measured | at its evaluation | quality | drift | outcome drift | retraining',
      seen(lived),
    ),
    '',
    '## Retrainings',
    '',
    `${asked.length} were requested by the monitor: ${counted(asked.map(({ outcome }) => outcomeText(outcome ?? 'runs')))}. Each record holds its reason:`,
    '',
    ...table(
      'requested on | by | trigger | outcome | version | reason',
      asked.map((each) => [
        moment(clock.recordedOf(Date.parse(each.startedAt))),
        each.requestedBy,
        each.reason,
        outcomeText(each.outcome ?? 'runs'),
        short(each.version ?? '–'),
        String(each.evidence['message'] ?? '').replaceAll('|', '/'),
      ]),
    ),
    '',
    '## Releases',
    '',
    ...table(
      'started on | version | outcome | took (recorded) | reason',
      lived.releases.map(({ version, outcome, reason, startedMs, endedMs }) => [
        moment(clock.recordedOf(startedMs)),
        short(version),
        outcome,
        endedMs === undefined ? '–' : `${(((endedMs - startedMs) * clock.ratio) / dayMs).toFixed(1)} d`,
        reason.replaceAll('|', '/'),
      ]),
    ),
    '',
    '## Alerts',
    '',
    ...table(
      'kind | resolved | open at the end',
      [...new Set(lived.alerts.map(({ kind }) => kind))].map((kind) => [
        `\`${kind}\``,
        String(countOf(lived, kind, false)),
        String(countOf(lived, kind, true)),
      ]),
    ),
    '',
    '## Memory and handles',
    '',
    ...vitalTable(lived),
    '',
    '## Time scale and its limits',
    '',
    `- A recorded week takes ${plan.weekMs / 1_000} seconds. Every duration of the model's policies is shortened by the same ${whole(clock.ratio)}: the windows of the`,
    `  monitor (a day), the span it evaluates (a week), the time after which outcomes are mature, the cooldowns (up to a week), the`,
    `  three weeks of training rows and the three days of test rows. They are data of the model; the code is unchanged.`,
    `- Trainings, evaluations and releases are not shortened: on this clock a training takes days, and a release most of a week.`,
    '  So Tenure serves versions that are older than in production.',
    `- Every ${plan.everyNth}th flight is predicted, ${plan.together} in one request; ${whole(plan.trainRows)} training rows and ${whole(plan.testRows)} test rows stand for 80,000 and 25,000.`,
    "- Its model file has the refit and the triggers of every model: the shipped one has `refit: 'off'`, which the demo need not wait for.",
    '- The stages of a release last seconds and pass on time, counts and no evidence of harm; the gate approves, as its',
    '  policy says. A version that the gate holds for an approver would wait here.',
    '- Outside releases, replicas count requests in ticks of ten seconds, which are two recorded days here: a window of a day has none, or',
    '  those of two. A silence alert is such a window.',
    ...behind(lived),
    `- The machine also generated the traffic and counted it; the replay was at most ${Math.round(lived.worstLagMs)} ms late, ${((lived.worstLagMs * clock.ratio) / hourMs).toFixed(1)} recorded hours.`,
    '',
  ].join('\n')
}

function summary(lived: HalfYear, name: Contender, asked: number): string[] {
  const { weeks, champions, weeklyTrainings } = lived
  const aucs = weeks.map((week) => week[name]?.auc).filter((value) => typeof value === 'number')
  const harmed = sumBy(weeks, ({ failures }) => sumBy(Object.values(failures), Number))
  const trainings = { never: 1, weekly: weeklyTrainings, tenure: 1 + asked }[name]
  const released = {
    never: 1,
    weekly: weeklyTrainings,
    tenure: champions.filter(({ cause }) => cause === 'promotion').length,
  }[name]
  return [
    names[name],
    four(mean(weeks, (week) => week[name]?.auc)),
    four(mean(weeks, (week) => week[name]?.brier)),
    aucs.length === 0 ? '–' : four(Math.min(...(aucs as number[]))),
    String(trainings),
    String(released),
    name === 'tenure' ? `${harmed} of ${whole(sumBy(weeks, ({ requests }) => requests))}` : '–',
  ]
}

/** The mean difference of Tenure from another one over the weeks, with its interval; weeks lack one without enough outcomes. */
function differenceOf(
  weeks: readonly WeekReport[],
  other: Exclude<Contender, 'tenure'>,
  metric: 'auc' | 'brier',
): string {
  const differences = weeks.flatMap(({ tenure, [other]: beside }) => {
    const [one, two] = [tenure[metric], beside?.[metric]]
    return typeof one === 'number' && typeof two === 'number' ? [one - two] : []
  })
  const count = differences.length
  if (count < 2) return '–'
  const average = sumBy(differences, Number) / count
  const variance = sumBy(differences, (each) => (each - average) ** 2) / (count - 1)
  const half = (studentTwoSidedQuantile(0.05, count - 1) ?? Infinity) * Math.sqrt(variance / count)
  const signed = (value: number) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(4)}`
  return `${signed(average)} (${signed(average - half)} to ${signed(average + half)})`
}

/** Failed requests. */
function harm({ weeks }: HalfYear): string[] {
  const counts = new Map<string, number>()
  for (const { failures } of weeks)
    for (const [why, count] of Object.entries(failures)) counts.set(why, (counts.get(why) ?? 0) + count)
  if (counts.size === 0) return []
  return [`Causes: ${[...counts].map(([why, count]) => `${count} ${why}`).join(', ')}.`]
}

/** On this clock, evaluating a window may take longer than the window. */
function behind({ windows, clock, weeks }: HalfYear): string[] {
  const lastMs = clock.recordedOf(windows.at(-1)?.toMs ?? 0)
  const endMs = (weeks.at(-1)?.fromMs ?? 0) + 7 * dayMs
  const days = (endMs - lastMs) / dayMs
  if (days < 3) return []
  return [
    `- A window of a day comes every ${(clock.shrunk(dayMs) / 1_000).toFixed(1)} seconds here, and the evaluation of one took longer under this load: at the end the monitor`,
    `  was ${days.toFixed(0)} recorded days behind. It skips no window, so it requested retrainings later than in production, where a window is an hour long.`,
  ]
}

/** Marks the best of a week in bold. */
function best(week: WeekReport, name: Contender, metric: 'auc' | 'brier'): string {
  const value = week[name]?.[metric]
  const all = contenders.map((each) => week[each]?.[metric]).filter((each) => typeof each === 'number')
  const top = metric === 'auc' ? Math.max(...(all as number[])) : Math.min(...(all as number[]))
  return four(value) === four(top) ? `**${four(value)}**` : four(value)
}

function seen({ windows, clock }: HalfYear): string[][] {
  const byWeek = new Map<number, (typeof windows)[number]>()
  for (const window of windows)
    if (window.version !== undefined)
      byWeek.set(Math.floor(clock.recordedOf(window.toMs) / (7 * dayMs)), window)
  return [...byWeek.values()].map(({ toMs, version, findings, trigger }) => {
    const quality = findings['quality'] as
      | { value?: number | null; baseline?: number | null; level?: string }
      | undefined
    const level = (name: string) => String((findings[name] as { level?: string } | undefined)?.level ?? '–')
    const asked = trigger as { action?: string; trigger?: { reason?: string }; said?: string } | undefined
    return [
      day(clock.recordedOf(toMs)),
      short(version ?? '–'),
      four(quality?.value),
      four(quality?.baseline),
      quality?.level ?? '–',
      level('drift'),
      level('labelDrift'),
      asked === undefined
        ? '–'
        : `${asked.trigger?.reason}: ${asked.action === 'start' ? 'started' : asked.said}`,
    ]
  })
}

function vitalTable({ vitals }: HalfYear): string[] {
  if (vitals.length === 0) return []
  const moments = momentsOf(vitals)
  return table(
    'process | at the start | half-way | at the end',
    Object.keys(moments[2].processes).map((name) => [
      name,
      ...moments.map(({ processes }) => usageCell(processes, name)),
    ]),
  )
}

const countOf = ({ alerts }: HalfYear, kind: string, open: boolean): number =>
  sumBy(alerts, (each) => (each.kind === kind && each.open === open ? each.count : 0))

function counted(outcomes: readonly string[]): string {
  const counts = new Map<string, number>()
  for (const outcome of outcomes) counts.set(outcome, (counts.get(outcome) ?? 0) + 1)
  return [...counts].map(([outcome, count]) => `${count} ${outcome}`).join(', ') || 'none'
}

const short = (version: string): string => version.replace(/^.*_/, '')
const minutes = (ms: number): string =>
  `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1_000)} s`
