/**
 * Shows the last minute of a model in which two versions answered, on every surface that has its figures: no figure of one version stands
 * beside the name of another.
 */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { ChampionTile } from '../../../api/dashboard/pages/model/champion-tile.tsx'
import { concernsOf, type Measured } from '../../../api/dashboard/pages/overview/concerns.ts'
import { partsOf } from '../../../api/dashboard/pages/overview/overview.tsx'
import { modelsGroup } from '../../../cli/commands/registry/models.ts'
import { statusCommand } from '../../../cli/commands/admin/status.ts'
import { findingsOfMinutes } from '../../../cli/doctor/replicas.ts'
import type { AlertGroup } from '../../../domain/monitoring/alert-groups.ts'
import { judgeMinute, type ChampionMinute, type LastMinute } from '../../../domain/monitoring/last-minute.ts'
import { toWire } from '../../../api/http/schemas.ts'
import { runCommand } from '../../support/command-line.ts'

const model = 'iris'
const [champion, other] = ['iris_v1.0.0', 'iris_v1.1.0']
const since = '2026-11-26T12:39:00.000Z'
const nowMs = Date.parse('2026-11-26T12:40:00Z')
const served: ChampionMinute = {
  version: champion,
  requests: 740,
  failed: 7,
  limit: 0.02,
  servedMs: 37_000,
}
const failing = { requests: 431, failed: 66 }

/** Minutes in which two versions answered. */
const minutes: Record<string, LastMinute> = {
  'after a rollback': {
    champion: { ...served, rolledBack: other },
    others: [{ version: other, ...failing }],
  },
  'after a promotion': { champion: served, others: [{ version: other, ...failing }] },
  'beside a candidate that fails': {
    champion: { ...served, servedMs: 86_400_000 },
    others: [{ version: other, ...failing }],
  },
  'of a champion that fails beside a good one': {
    champion: { ...served, ...failing },
    others: [{ version: other, requests: 740, failed: 7 }],
  },
}

const alertsOf = (version: string): AlertGroup[] =>
  ['champion_failing', 'champion_rolled_back'].map((kind, id) => ({
    id,
    model,
    kind,
    version,
    severity: 'critical',
    count: 1,
    acknowledged: 0,
    since,
    changedAt: since,
    message: `${version}: 66 of 431 requests failed`,
  }))

function measuredOf(minute: LastMinute): Measured {
  const fails = judgeMinute(minute.champion!) === 'failing' ? champion : other
  return {
    states: [{ model, version: champion, quality: 'held', drift: 'stable' }],
    minutes: new Map([[model, minute]]),
    alerts: alertsOf(fails),
    stages: [],
  }
}

const row = { model, isBrought: false, champion: { version: champion, since } }
/** One line for each text of the page, and one for each title of an element. */
const linesOf = (html: string) =>
  html
    .replaceAll(/<[^>]*? title="([^"]*)"[^>]*>/g, '\n$1\n')
    .replaceAll(/<[^>]+>/g, '\n')
    .replaceAll('\u00a0', ' ')

const overview = (minute: LastMinute) => {
  const measured = measuredOf(minute)
  const concerns = concernsOf(measured, 'operator')
  const data = {
    measured,
    concerns,
    lines: [{ row, minute, nowMs }],
    found: 1,
    changes: [],
    replicas: 2,
    silent: 0,
    nowMs,
  }
  const { sentence, now, rows } = partsOf(data, { rows: 30 }, 'UTC')
  return linesOf([sentence, now, ...rows].join('\n'))
}

/** What the API answers for a model. */
const answerOf = ({ champion: own, others }: LastMinute) => ({
  name: model,
  champion: { version: champion, since },
  last_minute: { ...(toWire(own!) as object), is_failing: judgeMinute(own!) === 'failing', others },
  features: {},
  output: { kind: 'class' },
  definition_digest: 'sha256:0123456789abcdef',
})
const ofCommand = async (
  minute: LastMinute,
  command: Parameters<typeof runCommand>[0],
  ...words: string[]
) => {
  const one = answerOf(minute)
  const groups = measuredOf(minute).alerts.map(toWire)
  const server = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ ...one, models: [one], groups, releases: [], retrainings: [] }))
  }).listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { out, err, code } = await runCommand(command, [...words, '--url', url])
  expect([code === 0 || code === 1, err]).toEqual([true, ''])
  return `${out}\nexit ${code}`
}

/** The surfaces, by the file that has the figures. */
const surfaces: Record<string, (minute: LastMinute) => string | Promise<string>> = {
  'api/dashboard/pages/overview/cells.tsx': overview,
  'api/dashboard/pages/overview/concerns.ts': overview,
  'api/dashboard/pages/model/champion-tile.tsx': async (minute) =>
    linesOf(
      String(await ChampionTile({ row, measured: measuredOf(minute), changes: [], nowMs, role: 'operator' })),
    ),
  'cli/commands/admin/status.ts': (minute) => ofCommand(minute, [statusCommand], 'status'),
  'cli/commands/registry/models.ts': (minute) => ofCommand(minute, [modelsGroup], 'models', 'show', model),
  'cli/doctor/replicas.ts': (minute) =>
    findingsOfMinutes(new Map([[model, minute]]))
      .map(({ found }) => found)
      .join('\n'),
}

const cases = Object.keys(surfaces).flatMap((file) =>
  Object.keys(minutes).map((name) => [file, name] as const),
)
it.each(cases)('%s has no figure of one version beside another one %s', async (file, name) => {
  const minute = minutes[name]!
  const text = await surfaces[file]!(minute)
  const clauses = text.split(/\n|; /)
  for (const { version, requests, failed } of [minute.champion!, ...minute.others]) {
    const figures = new RegExp(`\\b(${failed} of ${requests}|${failed} failed)\\b`)
    const foreign = version === champion ? other : champion
    for (const clause of clauses.filter((each) => figures.test(each))) {
      expect(clause).not.toContain(foreign)
      // The tile and the line have the champion as their heading.
      if (version !== champion) expect(clause).toContain(version)
    }
  }
  // Of both versions together.
  expect(text).not.toMatch(/\b73\b|1,?171|6\.23/)
  if (judgeMinute(minute.champion!) === 'well')
    expect(text).not.toMatch(/fails(:| )(?!above)|exit 1|Roll back…/)
})

it('says in the minute of a rollback what was rolled back, and how the champion answers', async () => {
  const minute = minutes['after a rollback']!
  const said = 'iris_v1.1.0 rolled back 37 s ago; iris_v1.0.0: 7 of 740 requests failed'
  expect(overview(minute)).toContain(said)
  expect(await surfaces['cli/commands/admin/status.ts']!(minute)).toContain(`${said}\n`)
  const early = {
    champion: { ...served, requests: 0, failed: 0, servedMs: 4_000, rolledBack: other },
    others: [],
  }
  expect(overview(early)).toContain(
    'iris_v1.1.0 rolled back 4 s ago; no request to iris_v1.0.0 is counted yet',
  )
})

it('covers every file that shows the last minute', () => {
  const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard', 'api', 'cli', 'activities'], {
    encoding: 'utf8',
  })
  const shows = files
    .split('\n')
    .filter((file) => /\.tsx?$/.test(file))
    .filter((file) => /\/last-minute\.ts'|last_minute/.test(readFileSync(file, 'utf8')))
  // Requests of releases have no figures of it, the API sends them in fields, and the first message of a failing champion is tested with its watch.
  const others = [
    'activities/alerts/delivery/report-releases.ts',
    'activities/monitor/champion-watch.ts',
    'api/routes/registry/models.ts',
    'cli/client/responses.ts',
  ]
  expect(shows.toSorted()).toEqual([...Object.keys(surfaces), ...others].toSorted())
})

it('a minute of failures is one of a champion that fails where that is proven, and otherwise not certain', () => {
  const judged = (requests: number, failed: number, isProven?: boolean) =>
    judgeMinute({ requests, failed, limit: 0.02, ...(isProven !== undefined && { isProven }) })
  expect([judged(19, 19, true), judged(100, 2, true), judged(100, 3, true)]).toEqual([
    'well',
    'well',
    'failing',
  ])
  // 4 % at five requests a second.
  expect([judged(300, 12, false), judged(300, 12)]).toEqual(['uncertain', 'uncertain'])
  // Nothing watches, and every request fails.
  expect([judged(150, 150), judged(150, 150, false)]).toEqual(['failing', 'uncertain'])
})

it.each(Object.keys(surfaces))(
  '%s calls no champion failing whose failures are not certain',
  async (file) => {
    const minute = { champion: { ...served, failed: 18, servedMs: 86_400_000, isProven: false }, others: [] }
    const text = await surfaces[file]!(minute)
    expect(text).not.toMatch(/ fails|too many|exit 1|Roll back…/)
    if (/concerns|tile|status|doctor/.test(file))
      expect(text).toContain('iris_v1.0.0: 18 of 740 requests failed in the last minute; not certain yet')
  },
)
