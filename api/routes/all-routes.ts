/** Every route of the API, in one list. */
import { dashboardRoutes } from '../dashboard/routes.ts'
import type { Route } from '../declare.ts'
import type { ApiDeps } from '../deps.ts'
import { alertRoutes } from './alerts.ts'
import { batchRoutes } from './batches.ts'
import { commandRoutes } from './commands.ts'
import { descriptionRoutes } from './description.ts'
import { drillRoutes } from './drills.ts'
import { erasureRoutes } from './erasures.ts'
import { evaluationRoutes } from './evaluations.ts'
import { featureRoutes } from './features.ts'
import { flagRoutes } from './flags.ts'
import { healthRoutes } from './health.ts'
import { inferenceRoutes } from './inference.ts'
import { keyRoutes } from './keys.ts'
import { modelRoutes } from './models.ts'
import { outcomeRoutes } from './outcomes.ts'
import { predictionRoutes } from './predictions.ts'
import { recordRoutes } from './records.ts'
import { releaseRoutes } from './releases.ts'
import { retrainingRoutes } from './retrainings.ts'
import { rollbackRoutes } from './rollback.ts'
import { trainingRoutes } from './trainings.ts'
import { cardRoutes } from './cards.ts'
import { versionRoutes } from './versions.ts'

export function routesOf(deps: ApiDeps): Route[] {
  const routes: Route[] = [
    ...predictionRoutes(deps),
    ...outcomeRoutes(deps),
    ...inferenceRoutes(deps),
    ...modelRoutes(deps),
    ...versionRoutes(deps),
    ...cardRoutes(deps),
    ...trainingRoutes(deps),
    ...evaluationRoutes(deps),
    ...retrainingRoutes(deps),
    ...releaseRoutes(deps),
    ...commandRoutes(deps),
    ...rollbackRoutes(deps),
    ...drillRoutes(deps),
    ...featureRoutes(deps),
    ...flagRoutes(deps),
    ...recordRoutes(deps),
    ...alertRoutes(deps),
    ...batchRoutes(deps),
    ...erasureRoutes(deps),
    ...keyRoutes(deps),
    ...healthRoutes(deps),
    ...descriptionRoutes(() => routes),
    ...dashboardRoutes(deps),
  ]
  return routes
}
