/**
 * Says which test files belong to which tier. Files of no list need servers and run with `npm test`; vitest.config.ts makes its projects of
 * these lists, and tiers.test.ts compares them with what CI runs.
 */

/** Files that need no server and start few processes: `npm run test:unit`. Patterns, relative to the checkout. */
export const unit = [
  'packages/lab/test/**/*.test.ts',
  'test/domain/**/*.test.ts',
  'test/activities/data/**/*.test.ts',
  'test/activities/privacy/**/*.test.ts',
  'test/api/auth/pace.test.ts',
  'test/api/http/{openapi,model-openapi,compression,schemas,turns}.test.ts',
  'test/api/routes/registry/artifact-upload.test.ts',
  'test/api/metrics/promlint.test.ts',
  'test/api/serving/{explanation,formats,runtime}/*.test.ts',
  'test/activities/arguments.test.ts',
  'test/activities/artifact/**/*.test.ts',
  'test/activities/release/evidence/sparing-reads.test.ts',
  'test/store/{artifacts,outgoing,outgoing-fetch,schema-issues,foreign/*,gateways/*,python/*,signing/*,objects/*}.test.ts',
  'test/activities/alerts/delivery/{send,formats,escaping}.test.ts',
  'test/activities/telemetry/*.test.ts',
  'test/activities/{retrain/{adopt-code,quantizer},tensorflow/{training-loop,importance},trainers/{program,result-folder}}.test.ts',
  'test/cli/{commands/{all-commands,format},demo/narrator,supervisor/{browser,merged-log},simulate/world,sync/load-models}.test.ts',
  'test/deploy/{chart,containers,monitoring,temporal-cluster-settings}.test.ts',
  'test/api/charts/**/*.test.ts',
  'test/models/{trainer,behaviour-tests,printed-model,triggers,python-model}.test.ts',
  'test/{changed,tidy,tiers}.test.ts',
  'test/api/serving/request/steps-of-a-message.test.ts',
  'test/config.test.ts',
  'test/project.test.ts',
  'test/simulation/postgres/statements.test.ts',
  'test/support/reference/*.test.ts',
  'test/docs/{alert-channels,bring-your-model,figures,links,reference-pages,security,states}.test.ts',
  'test/cli/doctor/object-store.test.ts',
  'test/cli/{init,check}/*.test.ts',
  'test/cli/export/graphs.test.ts',
  'test/cli/{local-actor,pager}.test.ts',
  'test/support/kept-threads.test.ts',
]

/** Files of packages, which import nothing of the product: `npm run test:packages`, and `npm test -w @tenure/…` those of one. */
export const packages = ['packages/!(lab)/test/**/*.test.ts']

/** Files of `unit` that start programs, talk over sockets or read large files: `npm test` runs them, `npm run test:unit` does not. */
export const programs = [
  'packages/lab/test/watched-years.test.ts',
  'test/activities/artifact/{compress-trees,store-foreign,unknown-categories}.test.ts',
  'test/activities/data/{bad-files,parquet-files,rows}.test.ts',
  'test/activities/telemetry/telemetry.test.ts',
  'test/activities/{retrain/{adopt-code,quantizer},trainers/program}.test.ts',
  'test/api/charts/charts.test.ts',
  'test/api/serving/formats/{served-graphs,served-layers}.test.ts',
  'test/api/serving/request/steps-of-a-message.test.ts',
  'test/api/serving/runtime/{background-process,endpoint-tls,endpoints,python-process}.test.ts',
  'test/cli/commands/all-commands.test.ts',
  'test/cli/pager.test.ts',
  'test/cli/{check,init}/*.test.ts',
  'test/cli/export/graphs.test.ts',
  'test/docs/{bring-your-model,states}.test.ts',
  'test/domain/simulation/simulate.test.ts',
  'test/models/{printed,python}-model.test.ts',
  'test/{project,tiers}.test.ts',
  'test/store/outgoing.test.ts',
  'test/store/objects/{artifact-copies,conformance,s3-faults,s3-lost-answers}.test.ts',
  'test/store/signing/signing-key.test.ts',
]

/**
 * Files that install packages, repeat a fault many times, or prove again what `npm test` proves with less: `npm run test:long`, except those
 * of `byHand`.
 */
export const atLength = [
  'packages/lab/test/incidents.test.ts',
  'packages/*/test/long/**/*.test.ts',
  'test/packages/*.test.ts',
  'test/activities/data/type-readings.test.ts',
  'test/activities/monitor/failing-champion.test.ts',
  'test/activities/retrain/postgres-types.test.ts',
  'test/api/dashboard/every-page.test.ts',
  'test/api/streams/kafka.test.ts',
  'test/cli/backup/point-in-time/restore-to.test.ts',
  'test/cli/commands/admin/unfinished-start.test.ts',
  'test/cli/sync/many-models.test.ts',
  'test/cli/upgrade/check-upgrade.test.ts',
  'test/deploy/ci-approval.test.ts',
  'test/docs/tutorial.test.ts',
  'test/faults/{builds,crash,interrupted,outage-alerts,races,signal-burst,wrong-answers}.test.ts',
  'test/simulation/{at-length,postgres/conformance}.test.ts',
  'test/faults/long/**/*.test.ts',
  'test/examples/*.test.ts',
  'test/interop/*.test.ts',
  'test/store/privacy/erased-roads.test.ts',
  'test/workflows/retrain/{computed-features,decayed-champion,killed-worker,python-project,quantiles,several-numbers}.test.ts',
]

const unproven = 'is not known to pass on each machine and under load'

/** Files of `atLength` that CI does not run, each with the reason: `npm run test:all` runs them too. */
export const byHand: Readonly<Record<string, string>> = {
  'test/examples/examples.test.ts': 'trains all examples, which took more than ten minutes on a busy machine',
  'test/examples/own-project.test.ts': unproven,
  'test/faults/long/network/clock-skew.test.ts': unproven,
  'test/faults/long/processes/restart.test.ts': unproven,
  'test/interop/temporal-cluster.test.ts': unproven,
}
