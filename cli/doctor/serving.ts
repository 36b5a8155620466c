/** Checks that no model fails more requests than its limit now. */
import { isMinuteFailing, minuteText } from '../../domain/sequential/champion-watch.ts'
import { percentText } from '../../domain/figures.ts'
import { completeMonitorPolicy } from '../../domain/monitoring/policy.ts'
import { openStore } from '../../store/postgres.ts'
import { readLastMinute } from '../../store/registry/champion-watch.ts'
import { listModels } from '../../store/registry/models.ts'
import { broken, ok, type Finding } from './finding.ts'

/** Returns no finding without models. */
export async function checkServing(databaseUrl: string): Promise<Finding[]> {
  const store = openStore(databaseUrl, { name: 'tenure doctor', max: 1 })
  try {
    const models = await listModels(store)
    const minutes = await readLastMinute(
      store,
      models.map(({ name }) => name),
    )
    const failing = models.flatMap(({ name, definition }) => {
      const minute = minutes.get(name)
      const { errorAlarm } = completeMonitorPolicy(definition.monitor).service
      if (minute === undefined || !isMinuteFailing(minute, errorAlarm)) return []
      return [
        broken(
          'models',
          `${name} fails: ${minuteText(minute)}, limit ${percentText(errorAlarm)}`,
          `Read what is done about it with \`tenure alerts\`; return to the last proven version with \`tenure rollback ${name}\`.`,
        ),
      ]
    })
    if (failing.length > 0 || models.length === 0) return failing
    return [
      ok(
        'models',
        `${minutes.size} of ${models.length} had requests in the last minute; none fails above its limit`,
      ),
    ]
  } finally {
    await store.close()
  }
}
