/**
 * Lists bugs that a change could introduce. Each is planted alone into the simulator's bundle, never into the files. A simulator that
 * misses a planted bug would miss the next real one as well.
 */

export interface Plant {
  name: string
  /** The failure that the bug causes. */
  says: string
  file: string
  /** Occurs in the file exactly once. */
  find: string
  replace: string
  /** The script that finds the bug, if random runs take too long. */
  script?: string
}

const plant = (name: string, says: string, file: string, find: string, replace: string): Plant => ({
  name,
  says,
  file,
  find,
  replace,
})

const scripted = (script: string, given: Plant): Plant => ({ ...given, script })

const routingMeaning = 'test/simulation/postgres/statements-routing.ts'
const releaseMeaning = 'test/simulation/postgres/statements-releases.ts'

export const plants: readonly Plant[] = [
  plant(
    'unknown-statement',
    'a statement has changed, and the simulator does not know the new one',
    'store/serving/replicas.ts',
    'epoch = excluded.epoch, generation = excluded.generation, problem = excluded.problem, at = now()',
    'epoch = excluded.epoch, generation = excluded.generation, problem = excluded.problem, at = clock_timestamp()',
  ),
  plant(
    'no-compare-and-set',
    'a routing write does not look at what it replaces',
    routingMeaning,
    "if (now?.['epoch'] !== oldEpoch || now['generation'] !== oldGeneration) return []",
    '',
  ),
  plant(
    'acknowledged-too-early',
    'a replica acknowledges a route before it follows it',
    'api/serving/routing/replica-sync.ts',
    'await routing.take(await readRouting(store), sentAt)',
    'const early = await readRouting(store)\n    for (const row of early.rows) if (renewal.isRegistered()) await acknowledge(store, { replica: deps.replica.id, model: row.model, epoch: row.epoch, generation: row.generation })\n    await routing.take(early, sentAt)',
  ),
  plant(
    'wall-clock-lease',
    'leases are kept on the wall clock',
    'api/serving/clock.ts',
    '    now,\n    wall:',
    '    now: wall,\n    wall:',
  ),
  plant(
    'off-by-one-generation',
    'the generation before counts as acknowledged',
    'store/serving/replicas.ts',
    '!isNewer(place, acknowledged)',
    '!isNewer({ ...place, generation: place.generation - 1 }, acknowledged)',
  ),
  plant(
    'no-exposure-expiry',
    'a candidate once exposed stays exposed',
    'api/serving/routing/route-follower.ts',
    'remainingMs === null ? 0 : sentAt + Math.min(',
    'remainingMs === null ? 0 : Infinity + Math.min(',
  ),
  plant(
    'targeted-after-expiry',
    'callers who were chosen keep a candidate that no one watches',
    'domain/serving/route.ts',
    'const { shadow: _shadow, targeted: _targeted, release: _release, ...rest } = route\n  const remaining',
    'const { shadow: _shadow, release: _release, ...rest } = route\n  const remaining',
  ),
  plant(
    'exposure-from-loading',
    'the exposure counts from when the versions of the route are loaded',
    'api/serving/routing/routing.ts',
    'routes.take(row, sentAt)',
    'routes.take(row, { valueOf: () => clock.now() })',
  ),
  plant(
    'exposure-from-now',
    'a renewal counts from now and not from the look',
    routingMeaning,
    'observedMs + exposureMs)',
    'query.clockMs + exposureMs)',
  ),
  plant(
    'renewed-without-evidence',
    'silence lets the candidate stay exposed',
    'activities/release/watch-stage.ts',
    'return staleMs !== null && staleMs <= state.policy.limits.maxStaleMs',
    'return true',
  ),
  plant(
    'approve-after-reject',
    'a rejection is noted and changes nothing',
    'domain/release/reducer.ts',
    "return endRelease(next, statement.atMs, 'rejected', reason)",
    'return applied(next, reason)',
  ),
  plant(
    'requester-approves',
    'who asks may approve',
    'domain/release/approval.ts',
    'by === state.requestedBy || (key !== undefined && key === state.requestedByKey)',
    'false',
  ),
  plant(
    'one-approval-too-few',
    'the last approval is not waited for',
    'domain/release/approval.ts',
    'state.policy.approval.approvers - state.approvals.length',
    'state.policy.approval.approvers - 1 - state.approvals.length',
  ),
  scripted(
    'evidence-changes-before-the-promotion',
    plant(
      'evidence-may-change',
      'an approval stays good for other evidence and other bytes',
      'activities/release/route.ts',
      "find(({ kind }) => kind !== 'comparison')",
      "find(({ kind }) => kind !== 'comparison' && kind !== 'artifact' && kind !== 'evaluation')",
    ),
  ),
  plant(
    'stage-before-acknowledged',
    'a stage is reached although a replica does not follow',
    'activities/release/route.ts',
    'if (problems.length > 0) return',
    'if (problems.length > 99) return',
  ),
  plant(
    'return-not-awaited',
    'a rollback counts as acknowledged at once',
    'activities/release/rollback.ts',
    '? await awaitAcknowledgements(deps, beat, { ...now, model }, policy.watch.acknowledgeMs)',
    '? { problems: [], atMs: Date.now() }',
  ),
  plant(
    'pass-on-no-data',
    'a stage without data is passed at its deadline',
    'domain/canary/incremental-judge.ts',
    "if (missing !== null) return verdict('no_data', [missing])",
    "if (missing !== null) return verdict('pass', [missing])",
  ),
  plant(
    'pass-without-time',
    'a stage passes on its requests alone',
    'domain/release/evidence-builder.ts',
    'elapsedMs: Math.min(watchedMs, countedMs)',
    'elapsedMs: 1e9',
  ),
  plant(
    'pause-stops-breach',
    'a paused release keeps a candidate that fails',
    'domain/release/reducer.ts',
    "if (verdict === 'fail')",
    "if (verdict === 'fail' && !state.paused)",
  ),
  plant(
    'no-audit-row',
    'a routing is written without its audit row',
    'activities/release/route.ts',
    "await appendAudit(database, {\n        actor: 'release',",
    "await Promise.resolve({\n        actor: 'release',",
  ),
  scripted(
    'second-rollback-an-hour-later',
    plant(
      'rollback-to-unproven',
      'a version that never earned its place is a way back',
      releaseMeaning,
      "row['version'] !== from &&\n            row['known_good_at'] !== null &&\n            row['rolled_back_at'] === null,",
      "row['version'] !== from,",
    ),
  ),
  plant(
    'ignored-epoch',
    'replicas compare generations alone',
    'domain/serving/route.ts',
    'return a.epoch !== b.epoch ? a.epoch > b.epoch : a.generation > b.generation',
    'return a.generation > b.generation',
  ),
  plant(
    'fenced-keeps-canary',
    'a replica without its lease goes on with its route',
    'domain/serving/route.ts',
    '=> championAlone(route, route.proven)',
    '=> route',
  ),
  plant(
    'reduced-keeps-canary',
    'a lapsed exposure leaves the candidate where it is',
    'domain/serving/route.ts',
    "const remaining = route.arms.filter((arm) => arm.arm !== 'canary')",
    'const remaining = route.arms',
  ),
  plant(
    'salt-by-stage',
    'each stage draws its callers anew',
    'activities/release/route.ts',
    'salt: state.id,',
    'salt: `${state.id}/${state.stageIndex}`,',
  ),
  plant(
    'share-moves-back',
    'the second stage gives the candidate the other end of the circle',
    'domain/release/next-effect.ts',
    'const plan = { ...beside(baseline, version, shareBp), targeted }',
    'const plan = { ...beside(baseline, version, shareBp), targeted }\n    if (state.stageIndex % 2 === 1) plan.arms.reverse()',
  ),
  plant(
    'approval-never-expires',
    'the wait for approvals never ends',
    'domain/release/next-effect.ts',
    'untilMs: state.enteredMs + state.policy.approval.withinMs',
    'untilMs: state.enteredMs + 1e9',
  ),
  scripted(
    'late-renewal-of-an-ended-lease',
    plant(
      'lease-before-routes',
      'a replica that comes back believes its lease before it has read the routes',
      'api/serving/routing/replica-lease.ts',
      'if (renewed.at < lease.until) lease.until',
      'if (lease.until > 0) lease.until',
    ),
  ),
  scripted(
    'clock-five-minutes-ahead-before-the-order-of-a-release',
    plant(
      'lease-by-the-database-clock',
      'a rollback waits for no replica whose lease is over by the clock of the database',
      'store/serving/observed-leases.ts',
      'const overMs = sentAt - sighting.seenAt - lease.leaseMs',
      'const overMs = lease.silentMs',
    ),
  ),
  scripted(
    'clock-a-day-ahead-before-the-order-of-a-model',
    plant(
      'replicas-of-yesterday-overlooked',
      'a rollback does not wait for a replica whose lease has been over for an hour by the clock of the database',
      'store/serving/replicas.ts',
      'isEnded && silentMs >= silentForMs',
      'silentMs >= silentForMs',
    ),
  ),
  scripted(
    'clock-back-while-no-watcher-runs',
    plant(
      'exposed-by-the-database-clock',
      'a replica that starts exposes the candidate for as long as the clock of the database was set back',
      'api/serving/routing/route-follower.ts',
      'sentAt + Math.min(remainingMs, exposureMs ?? Infinity)',
      'sentAt + remainingMs',
    ),
  ),
  scripted(
    'rollback-of-a-replica-that-is-gone',
    plant(
      'gone-replicas-unnamed',
      'a rollback does not name a replica that was cut off for longer than an hour',
      'api/services/rollback/rollback-model.ts',
      '[...recent.silent, ...recent.gone]',
      'recent.silent',
    ),
  ),
  plant(
    'first-sight-forever',
    'a lease that is renewed is over once its replica has been seen for so long',
    'store/serving/observed-leases.ts',
    'if (before?.leaseUntilMs === leaseUntilMs && before.serverStartedMs === serverStartedMs) return before',
    'if (before !== undefined) return before',
  ),
  scripted(
    'restore-while-rolling-back',
    plant(
      'rollback-undone',
      'a backup restored during a rollback makes the candidate champion for good',
      'activities/release/rollback.ts',
      'if ((await findEpoch()) !== epoch || report.rollbackResult.champion !== champion) continue',
      '',
    ),
  ),
  scripted(
    'restore-while-rolling-back',
    plant(
      'restored-route-kept',
      'after a restored backup the champion is moved back and its route is not',
      'store/release/rollback.ts',
      '(isChampion || isRouteFor(now.route, state, target))',
      'isRouteFor(now.route, state, target)',
    ),
  ),
  scripted(
    'champion-moved-while-rolling-back',
    plant(
      'moved-champion-not-routed',
      'a rollback is reported with a champion that was moved by hand and has no route',
      'activities/release/rollback.ts',
      '(await findEpoch()) !== epoch || report.rollbackResult.champion !== champion',
      '(await findEpoch()) !== epoch',
    ),
  ),
  scripted(
    'champion-moved-within-a-rollback',
    plant(
      'champion-not-locked-by-a-rollback',
      'a champion that is moved by hand within the transaction of a rollback has no route',
      'store/release/rollback.ts',
      'would count as routed.\n  const champion = await lockChampion(database, model)',
      'would count as routed.\n  const champion = await findChampion(database, model)',
    ),
  ),
  scripted(
    'restore-hides-who-is-proven',
    plant(
      'proven-kept-by-a-rollback',
      'after a restored backup the route names the version that was rolled back as proven',
      'store/release/rollback.ts',
      'route.release === id || (route.proven === version && champion !== version)',
      'route.release === id',
    ),
  ),
  scripted(
    'cut-replica-keeps-the-promoted',
    plant(
      'promoted-counts-as-proven',
      'a replica without its lease serves a candidate whose release has not ended',
      'domain/release/next-effect.ts',
      'proven: baseline ?? version, standby: baseline',
      'standby: baseline',
    ),
  ),
  scripted(
    'cut-replica-keeps-the-proven',
    plant(
      'silent-replicas-overlooked',
      'the rollback of a proven version says nothing of replicas that are cut off',
      'api/services/rollback/rollback-model.ts',
      '[...recent.silent, ...recent.gone]',
      '[]',
    ),
  ),
  scripted(
    'restarted-replica-is-unknown',
    plant(
      'serves-before-its-lease',
      'a replica that starts serves from its disk while no rollback knows of it',
      'api/serving/routing/replica-sync.ts',
      '    started,\n',
      '    started: Promise.resolve(),\n',
    ),
  ),
  scripted(
    'cut-replica-keeps-the-first',
    plant(
      'first-version-overlooked',
      'the rollback of a first version says nothing of replicas that are cut off',
      'store/release/rollback.ts',
      'if (baseline === undefined) return now',
      '',
    ),
  ),
  scripted(
    'restore-loses-the-first-route',
    plant(
      'lost-route-not-awaited',
      'the rollback of a version whose route a restore has lost waits for no replica',
      'store/serving/routing.ts',
      'return epoch === firstEpoch ? undefined : { epoch, generation: 0 }',
      'return undefined',
    ),
  ),
  scripted(
    'restore-loses-the-first-route',
    plant(
      'lost-route-kept',
      'a replica serves on the route that a restore has lost',
      'api/serving/routing/route-follower.ts',
      '        beforeFollow(model)\n        counters.close(model)\n        live.delete(model)\n        unloadUnnamed()\n',
      '',
    ),
  ),
  scripted(
    'late-opening-meets-its-successor',
    plant(
      'successor-closed',
      'an opening that comes late ends the release that runs',
      'activities/runtime/find-run.ts',
      'return run?.running !== true || bare(run.firstRunId) !== bare(row.runId)',
      'return run !== undefined',
    ),
  ),
  scripted(
    'question-to-temporal-is-lost',
    plant(
      'question-without-limit',
      'a watch waits for ever for an answer of Temporal',
      'activities/release/watch-stage.ts',
      'await Promise.race([answer, pause(freshMs, false, { ref: false })])',
      'await answer',
    ),
  ),
  plant(
    'step-is-not-asked-for',
    'a late report is applied although the release asks for another step',
    'store/release/releases.ts',
    'nextEffect(state).key === input.step ? applyReport(database, state, report) : state',
    'applyReport(database, state, report)',
  ),
  scripted(
    'abort-while-promoting',
    plant(
      'promoted-for-another-step',
      'a promotion that was held goes on after an accepted abort',
      'activities/release/promote.ts',
      'if (nextEffect(state).key !== input.step) return undefined\n',
      '',
    ),
  ),
  scripted(
    'abort-to-a-workflow-that-looks-at-nothing',
    plant(
      'acts-before-commands',
      'a release acts although a recorded command has no answer',
      'store/release/releases.ts',
      '      if (await applyUnanswered(database, before)) return undefined\n',
      '',
    ),
  ),
  plant(
    'row-not-locked',
    'two writers advance a release from the same state',
    releaseMeaning,
    "query.lock('releases', id as string)\n      const row = query.find('releases', id as string)\n      return row === undefined",
    "const row = query.find('releases', id as string)\n      return row === undefined",
  ),
  plant(
    'promotion-apart-from-its-release',
    'a promotion does not advance its release',
    'activities/release/promote.ts',
    "await applyReport(database, state, {\n    kind: 'promoted',",
    "await Promise.resolve({\n    kind: 'promoted',",
  ),
  plant(
    'answered-again',
    'a command that comes again is carried out again',
    'test/simulation/postgres/statements-commands.ts',
    ".filter((row) => row['answered_at'] === null)\n        .slice(0, most",
    '.slice(0, most',
  ),
  plant(
    'newest-command-first',
    'commands are answered in another order than that of their rows',
    'test/simulation/postgres/statements-commands.ts',
    ".filter((row) => row['answered_at'] === null)\n        .slice(0, most",
    ".filter((row) => row['answered_at'] === null)\n        .reverse()\n        .slice(0, most",
  ),
  plant('signal-not-heard', 'a signal changes nothing', 'workflows/release.ts', 'news.isNew = true\n', ''),
  plant(
    'answer-not-stored',
    'a command is applied and its answer is not stored',
    'store/release/releases.ts',
    'await answerCommand(database, id, { accepted, message, stage })',
    'await Promise.resolve(answerCommand)',
  ),
  scripted(
    'revoked-key-commands',
    plant(
      'keys-not-read-again',
      'a command is carried out with the role that its sender once had',
      'store/release/releases.ts',
      '{ role: key?.role, key: key?.id, inScope }',
      '{ role: command.role, key: command.keyId, inScope: key !== undefined || inScope === false }',
    ),
  ),
  scripted(
    'restore-meets-a-late-watch',
    plant(
      'epoch-is-ignored',
      'a release goes on from a restored backup although its workflow knows of its rollback',
      'store/release/releases.ts',
      'if (state.revision >= seen && Math.max(state.epoch, state.restoredEpoch ?? 0) >= epoch) return state',
      'if (state.revision >= seen) return state',
    ),
  ),
  scripted(
    'order-meets-a-restored-route',
    plant(
      'late-order-overlooked',
      'a rollback that comes after another writer has changed the route is told as the work of that writer',
      'domain/release/reducer.ts',
      "(stage === 'rolling_back' && endsWithoutOrder.includes(rollbackOrder?.outcome))",
      "(stage === 'rolling_back' && rollbackOrder === undefined)",
    ),
  ),
  scripted(
    'first-version-rolled-back-at-its-end',
    plant(
      'end-told-as-rolled-back',
      'a first version is recorded as rolled back and stays champion',
      'domain/release/reducer.ts',
      'return { ...done, state: { ...done.state, attempts: state.attempts + 1 } }',
      "return { ...done, state: { ...given, outcome: 'rolled_back', revision: given.revision + 1, attempts: state.attempts + 1 } }",
    ),
  ),
  scripted(
    'signal-to-a-release-that-a-restore-has-lost',
    plant(
      'lost-row-unhandled',
      'a signal to a release whose row is gone stops its workflow',
      'workflows/release.ts',
      '        requireGone(error)\n        isGone = true\n        current.interrupt()',
      '        throw error',
    ),
  ),
]
