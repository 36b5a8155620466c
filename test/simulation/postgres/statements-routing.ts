/**
 * Implements the statements about routing, replicas and counters for the in-memory Postgres. Each is named after its function in store/.
 */
import type { Meaning, Query, Row } from '@tenure/simulator'
import { date, demand, insertOnce, ms, parse, type Statements } from './statement.ts'

interface RoutingRow extends Row {
  model: string
  epoch: number
  generation: number
  route: Row
  exposed_until: number | null
  updated_at: number
}

const routingRow = (query: Query, row: RoutingRow): Row => ({
  epoch: row.epoch,
  generation: row.generation,
  route: row.route,
  written_ms: row.updated_at,
  exposure_ms: row.exposed_until === null ? null : row.exposed_until - query.clockMs,
})

const exposureOf = (query: Query, route: Row): number | null => {
  const release = query.find('releases', route['release'] as string)
  return (release?.['policy'] as { watch: { exposureMs: number } } | undefined)?.watch.exposureMs ?? null
}

const writeFirst =
  (exposes: boolean): Meaning =>
  (query, values) => {
    const [model, epoch, route, exposureMs] = values as [string, number, string, number]
    const row: RoutingRow = {
      model,
      epoch,
      generation: 1,
      route: parse(route),
      exposed_until: exposes ? query.clockMs + exposureMs : null,
      updated_at: query.clockMs,
    }
    return insertOnce(query, 'routing', model, row) ? [routingRow(query, row)] : []
  }

const writeNext =
  (exposes: boolean): Meaning =>
  (query, values) => {
    const [epoch, generation, route, ...rest] = values as [number, number, string, ...unknown[]]
    const exposureMs = exposes ? (rest.shift() as number) : undefined
    const [model, oldEpoch, oldGeneration] = rest as [string, number, number]
    if (query.find('routing', model) === undefined) return []
    query.lock('routing', model)
    const now = query.find('routing', model)
    if (now?.['epoch'] !== oldEpoch || now['generation'] !== oldGeneration) return []
    const row: RoutingRow = {
      model,
      epoch,
      generation,
      route: parse(route),
      exposed_until: exposureMs === undefined ? null : query.clockMs + exposureMs,
      updated_at: query.clockMs,
    }
    query.put('routing', model, row)
    return [routingRow(query, row)]
  }

const isLive = (query: Query) => (row: Row) => (row['lease_until'] as number) > query.clockMs

export const routingStatements: Statements = {
  '5185de47': [
    'findRouting',
    (query, [model]) => {
      const row = query.find('routing', model as string)
      return row ? [routingRow(query, row as RoutingRow)] : []
    },
  ],
  '16a2ea6b': [
    'findEpoch',
    (query) => [{ epoch: Math.max(...query.all('routing_epochs').map((row) => row['epoch'] as number)) }],
  ],
  '98976f6c': ['writeRoute, first', writeFirst(false)],
  b47122a0: ['writeRoute, first and exposed', writeFirst(true)],
  '9548f03d': ['writeRoute', writeNext(false)],
  '1a0a99ee': ['writeRoute, exposed', writeNext(true)],
  fa7b421a: [
    'renewExposure',
    (query, values) => {
      const [observedMs, exposureMs, mostMs, model, epoch, generation, release] = values as [
        number,
        number,
        number,
        string,
        number,
        number,
        string,
      ]
      if (query.find('routing', model) === undefined) return []
      query.lock('routing', model)
      const row = query.find('routing', model) as RoutingRow | undefined
      if (row?.epoch !== epoch || row.generation !== generation || row.route['release'] !== release) return []
      query.put('routing', model, {
        ...row,
        exposed_until: Math.min(
          Math.max(row.exposed_until ?? -Infinity, observedMs + exposureMs),
          query.clockMs + mostMs,
        ),
      })
      return [{ model }]
    },
  ],
  '02e48359': [
    'writeRoute, notice',
    (query, [model]) => {
      query.notify('tenure_routing', model as string)
      return [{ pg_notify: '' }]
    },
  ],
  // No simulated model has a gateway.
  a3c6c8f6: ['findGateway', () => []],
  d921bb79: [
    'listRecentReplicas',
    (query, values) => {
      const [assumedMs, model, silentForMs] = values as [number, string, number]
      return query
        .all('replicas')
        .filter(
          (row) =>
            row['lease_ms'] !== 0 ||
            query.find('routing_acknowledgements', `${row['id'] as string} ${model}`) !== undefined ||
            (row['lease_until'] as number) > query.clockMs - silentForMs,
        )
        .sort((a, b) => ((a['id'] as string) < (b['id'] as string) ? -1 : 1))
        .map((row) => {
          const { id, host, url, lease_until } = row
          const acknowledged = query.find('routing_acknowledgements', `${id as string} ${model}`)
          const { epoch = null, generation = null, problem = null } = acknowledged ?? {}
          const silent_ms = query.clockMs - (lease_until as number)
          const lease_ms = (row['lease_ms'] as number) || assumedMs
          const is_ended = row['lease_ms'] === 0
          const lease = { is_ended, silent_ms, lease_ms, lease_until_ms: lease_until, server_started_ms: 0 }
          return { id, host, url, epoch, generation, problem, ...lease }
        })
    },
  ],
  ddc3b47b: [
    'renewLease',
    (query, values) => {
      const [id, host, pid, url, buildId, leaseMs, lease_ms] = values as [
        string,
        string,
        number,
        string,
        string,
        number,
        number,
      ]
      query.lock('replicas', id)
      const lease_until = query.clockMs + leaseMs
      const known = query.find('replicas', id)
      query.put(
        'replicas',
        id,
        known
          ? { ...known, lease_until, lease_ms, url }
          : { id, host, pid, url, build_id: buildId, started_at: query.nowMs, lease_until, lease_ms },
      )
      return []
    },
  ],
  '5392ed35': [
    'introduceReplica',
    (query, values) => {
      const [machine, process, id] = values as [string, string, string]
      if (query.find('replicas', id) === undefined) return []
      query.lock('replicas', id)
      query.put('replicas', id, { ...query.find('replicas', id), machine, process })
      return []
    },
  ],
  f78c28e0: [
    'introduceReplica, others',
    (query, values) => {
      const [machine, id, silentForMs] = values as [string, string, number]
      return query
        .all('replicas')
        .filter((row) => row['machine'] === machine && row['id'] !== id)
        .filter((row) => (row['lease_until'] as number) > query.clockMs - silentForMs)
        .sort((a, b) => ((a['id'] as string) < (b['id'] as string) ? -1 : 1))
        .map(({ id: other, process }) => ({ id: other, process }))
    },
  ],
  de64db5e: [
    'deleteExpiredReplicas',
    (query) => {
      for (const { id, lease_until, lease_ms } of query.all('replicas'))
        if ((lease_until as number) < query.clockMs - 7 * 86_400_000 && lease_ms === 0) {
          query.lock('replicas', id as string)
          query.remove('replicas', id as string)
          for (const row of query.all('routing_acknowledgements'))
            if (row['replica_id'] === id)
              query.remove('routing_acknowledgements', `${id as string} ${row['model'] as string}`)
        }
      return []
    },
  ],
  '0a8d8f38': [
    'endLease',
    (query, [silentForMs, id]) => {
      if (query.find('replicas', id as string) === undefined) return []
      query.lock('replicas', id as string)
      query.put('replicas', id as string, {
        ...query.find('replicas', id as string),
        lease_until: query.clockMs - (silentForMs as number),
        lease_ms: 0,
      })
      for (const row of query.all('routing_acknowledgements'))
        if (row['replica_id'] === id)
          query.remove('routing_acknowledgements', `${id as string} ${row['model'] as string}`)
      query.notify('tenure_acknowledged', id as string)
      return [{ pg_notify: '' }]
    },
  ],
  '55252510': [
    'shortenLeases',
    (query, [endedMs]) => {
      for (const { id } of query.all('replicas')) {
        const row = () => query.find('replicas', id as string)
        const reachOf = (now: Row | undefined) =>
          query.clockMs + ((now?.['lease_ms'] as number) || (endedMs as number))
        const isTooLong = () => (row()?.['lease_until'] as number) > reachOf(row())
        if (!isTooLong()) continue
        query.lock('replicas', id as string)
        if (isTooLong()) query.put('replicas', id as string, { ...row(), lease_until: reachOf(row()) })
      }
      return []
    },
  ],
  '90129ba4': [
    'endGoneLeases',
    (query, [ids, silentForMs]) => {
      for (const id of ids as string[]) {
        query.lock('replicas', id)
        const row = query.find('replicas', id)
        if (row && (row['lease_until'] as number) < query.clockMs - (silentForMs as number))
          query.put('replicas', id, { ...row, lease_ms: 0 })
      }
      return []
    },
  ],
  '8d690b0d': [
    'readRouting',
    (query) => [
      {
        databaseMs: query.clockMs,
        epoch: Math.max(...query.all('routing_epochs').map((row) => row['epoch'] as number)),
        models: query.all('models').map(({ name }) => name),
        rows: (query.all('routing') as RoutingRow[]).map(
          ({ model, epoch, generation, route, exposed_until }) => ({
            model,
            epoch,
            generation,
            route,
            remainingMs: exposed_until === null ? null : exposed_until - query.clockMs,
            exposedUntilMs: exposed_until,
            exposureMs: exposureOf(query, route),
          }),
        ),
        flags: query.all('kill_switches').map(({ model, serve, revision }) => ({ model, serve, revision })),
        fallbacks: [],
      },
    ],
  ],
  bc99c11c: [
    'acknowledge',
    (query, values) => {
      const [replica_id, model, epoch, generation, problem] = values as [
        string,
        string,
        number,
        number,
        string | null,
      ]
      demand(query, 'replicas', replica_id)
      const key = `${replica_id} ${model}`
      query.lock('routing_acknowledgements', key)
      query.put('routing_acknowledgements', key, {
        replica_id,
        model,
        epoch,
        generation,
        problem,
        at: query.nowMs,
      })
      query.notify('tenure_acknowledged', model)
      return [{ pg_notify: '' }]
    },
  ],
  beb7d288: [
    'claimUnits',
    (query, [lists, units, models, releases, tickMs, replica_id]) => {
      const [models_, releases_, ticks_] = [models as string[], releases as string[], tickMs as number[]]
      const held = new Map<number, number>()
      const sent = (units as number[]).map((unit, i) => ({ unit, list: (lists as number[])[i]! }))
      for (const { unit, list } of sent) {
        const [model, release_id, tick] = [models_[list - 1]!, releases_[list - 1]!, ticks_[list - 1]!]
        const key = `${release_id} ${unit}`
        insertOnce(query, 'counted_units', key, { model, release_id, unit, replica_id, tick })
        const holder = query.find('counted_units', key)!
        if (holder['replica_id'] === replica_id && holder['tick'] === tick)
          held.set(list, (held.get(list) ?? 0) + 1)
      }
      return Array.from(held, ([list, count]) => ({ list, held: count }))
    },
  ],
  e6f479ee: [
    'writeTicks',
    (query, [replica_id, sent]) => {
      for (const tick of parse<Row[]>(sent)) {
        const { model, release, version, arm, generation, tickMs, lengthMs, ...rest } = tick
        const {
          keys: _keys,
          answers: _answers,
          failedCallers: _callers,
          repeats: _repeats,
          breakerOpen = false,
          ...counted
        } = rest
        const key = [model, release, version, arm, tickMs, replica_id, generation].join(' ')
        query.lock('tick_counters', key)
        const known = query.find('tick_counters', key)
        const counts = { ...counted, breaker_open: breakerOpen, flushed_at: query.nowMs }
        query.put(
          'tick_counters',
          key,
          known
            ? { ...known, ...counts }
            : {
                replica_id,
                model,
                release_id: release,
                version,
                arm,
                generation,
                tick: tickMs,
                tick_ms: lengthMs,
                ...counts,
              },
        )
      }
      return []
    },
  ],
  '9010d953': ['findTicks', (query, [release, model]) => ticks(query, release, model, -Infinity)],
  '621b7b2a': [
    'findTicks, since',
    (query, [release, model, since]) => ticks(query, release, model, since as number),
  ],
  '2c8490cb': [
    'findLatency',
    (query, [model, version, windowMs]) => {
      const buckets = new Map<number, number>()
      for (const row of query.all('tick_counters'))
        if (
          row['model'] === model &&
          row['version'] === version &&
          row['arm'] !== 'shadow' &&
          (row['tick'] as number) > query.nowMs - (windowMs as number)
        )
          for (const [bound, count] of Object.entries(row['latency'] as Record<string, number>))
            buckets.set(Number(bound), (buckets.get(Number(bound)) ?? 0) + Number(count))
      const total = [...buckets.values()].reduce((sum, count) => sum + count, 0)
      let reached = 0
      const running = [...buckets]
        .sort(([a], [b]) => a - b)
        .map(([bound, count]) => ({ bound, reached: (reached += count) }))
      const at = (share: number) => running.find((each) => each.reached >= share * total)?.bound ?? null
      return [{ requests: total, p95: at(0.95), p99: at(0.99) }]
    },
  ],
  '232d0742': ['listPairs, of none', () => []],
  '6a6e5f67': ['listShadowRows, of none', () => []],
  '7db75424': ['listServedRequests, of none', () => []],
  bf631f76: [
    'findVersion, of a model that decides',
    (_query, [version]) => [
      { version, manifest: { output: { kind: 'probability', positive: 'late', threshold: 0.5 } } },
    ],
  ],
  cd8bbb45: ['hasHoldbackOutcome, of none', () => [{ known: false }]],
  '8e3b4709': ['listMaturedPairs, of none', () => []],
  '2f8cbfa4': ['findEvaluation, of none', () => []],
  cb39ec3d: [
    'findReplicaReports',
    (query, [model, tickModel, release]) => {
      const routed =
        (query.find('routing', model as string)?.['updated_at'] as number | undefined) ?? -Infinity
      const reports = query
        .all('replicas')
        .filter(isLive(query))
        .map(({ id, started_at }) => {
          const rows = query
            .all('tick_counters')
            .filter(
              (row) =>
                row['model'] === tickModel && row['release_id'] === release && row['replica_id'] === id,
            )
          const written = rows.map((row) => row['flushed_at'] as number)
          return {
            silenceMs: query.clockMs - Math.max(started_at as number, routed, ...written),
            isCandidate: rows.some((row) => ['canary', 'targeted'].includes(row['arm'] as string)),
            isOpen: rows.some((row) => row['breaker_open'] === true),
          }
        })
      return [
        {
          silence_ms: reports.length === 0 ? null : Math.max(...reports.map(({ silenceMs }) => silenceMs)),
          replicas: reports.filter(({ isCandidate }) => isCandidate).length,
          open: reports.filter(({ isOpen }) => isOpen).length,
        },
      ]
    },
  ],
  f39cabfb: [
    'findKillSwitch',
    (query, [model]) => {
      const row = query.find('kill_switches', model as string)
      return row ? [{ ...row, at: date(row['at']) }] : []
    },
  ],
  '3bea86a8': ['listAlarmsAgainst, nothing', () => []],
  '470ffbb9': ['writeFallbacks, not read here', () => []],
  '7a356d1d': ['readSilence, without a drill', () => [{ ms: 0 }]],
}

function ticks(query: Query, release: unknown, model: unknown, sinceMs: number): Row[] {
  const groups = new Map<string, Row[]>()
  for (const row of query.all('tick_counters')) {
    if (row['release_id'] !== release || row['model'] !== model || (row['tick'] as number) < sinceMs) continue
    const key = [row['tick'], row['generation'], row['version'], row['arm']].join(' ')
    const group = groups.get(key)
    if (group) group.push(row)
    else groups.set(key, [row])
  }
  const sum = (rows: Row[], name: string) => rows.reduce((total, row) => total + (row[name] as number), 0)
  return [...groups.values()]
    .map((rows): Row => {
      const { version, arm, generation, tick } = rows[0]!
      return {
        version,
        arm,
        generation,
        tickMs: tick,
        lengthMs: Math.max(...rows.map((row) => row['tick_ms'] as number)),
        replicas: new Set(rows.map((row) => row['replica_id'])).size,
        requests: sum(rows, 'requests'),
        errors: sum(rows, 'errors'),
        invalid: sum(rows, 'invalid'),
        slow95: sum(rows, 'slow95'),
        slow99: sum(rows, 'slow99'),
        keys: null,
        answers: null,
        ageMs: query.clockMs - Math.max(...rows.map((row) => row['flushed_at'] as number)),
      }
    })
    .sort(
      (a, b) =>
        ms(a['tickMs']) - ms(b['tickMs']) ||
        ms(a['generation']) - ms(b['generation']) ||
        String(a['arm']).localeCompare(String(b['arm'])),
    )
}
