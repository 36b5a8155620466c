/** Lists every route of the API. */
import { dashboardRoutes } from '../dashboard/routes.ts'
import type { RouteDefinition } from '../http/route.ts'
import type { ApiDeps } from '../deps.ts'
import { adapterRoutes } from './serving/adapters.ts'
import { alertRoutes } from './admin/alerts.ts'
import { batchRoutes } from './serving/batches.ts'
import { certificateRoutes } from './lifecycle/certificates.ts'
import { chatRoutes } from './lifecycle/chat.ts'
import { commandRoutes } from './lifecycle/commands.ts'
import { descriptionRoutes } from './api-description.ts'
import { drillRoutes } from './lifecycle/drills.ts'
import { erasureRoutes } from './admin/erasures.ts'
import { evaluationRoutes } from './lifecycle/evaluations.ts'
import { featureRoutes } from './registry/features.ts'
import { killSwitchRoutes } from './admin/kill-switches.ts'
import { stateRoutes } from './admin/state.ts'
import { healthRoutes } from './health.ts'
import { inferenceRoutes } from './serving/inference.ts'
import { keyRoutes } from './admin/keys.ts'
import { pythonClientRoutes } from './python-client.ts'
import { modelFileRoutes } from './registry/model-files.ts'
import { modelRoutes } from './registry/models.ts'
import { eventRoutes } from './serving/events.ts'
import { exposureRoutes } from './serving/exposure.ts'
import { outcomeRoutes } from './serving/outcomes.ts'
import { explanationRoutes } from './serving/explanations.ts'
import { reviewRoutes } from './serving/reviews.ts'
import { predictionRoutes } from './serving/predictions.ts'
import { predictionLogRoutes } from './serving/prediction-log.ts'
import { auditRoutes } from './admin/audit.ts'
import { releaseRoutes } from './lifecycle/releases.ts'
import { retrainingRoutes } from './lifecycle/retrainings.ts'
import { rollbackRoutes } from './lifecycle/rollback.ts'
import { trainingRoutes } from './lifecycle/trainings.ts'
import { sweepRoutes } from './lifecycle/sweeps.ts'
import { triggerRoutes } from './lifecycle/triggers.ts'
import { trialRoutes } from './lifecycle/trials.ts'
import { cardRoutes } from './registry/cards.ts'
import { searchRoutes } from './registry/search.ts'
import { versionRoutes } from './registry/versions.ts'

export function routesOf(deps: ApiDeps): RouteDefinition[] {
  const routes: RouteDefinition[] = [
    ...predictionRoutes,
    ...exposureRoutes(deps),
    ...predictionLogRoutes(deps),
    ...explanationRoutes(deps),
    ...outcomeRoutes(deps),
    ...eventRoutes(deps),
    ...reviewRoutes(deps),
    ...inferenceRoutes(deps),
    ...adapterRoutes(deps),
    ...modelRoutes(deps),
    ...modelFileRoutes(deps),
    ...versionRoutes(deps),
    ...cardRoutes(deps),
    ...trainingRoutes(deps),
    ...evaluationRoutes(deps),
    ...retrainingRoutes(deps),
    ...trialRoutes(deps),
    ...triggerRoutes(deps),
    ...sweepRoutes(deps),
    ...releaseRoutes(deps),
    ...certificateRoutes(deps),
    ...commandRoutes(deps),
    ...chatRoutes(deps),
    ...rollbackRoutes(deps),
    ...drillRoutes(deps),
    ...featureRoutes(deps),
    ...searchRoutes(deps),
    ...killSwitchRoutes(deps),
    ...stateRoutes(deps),
    ...auditRoutes(deps),
    ...alertRoutes(deps),
    ...batchRoutes(deps),
    ...erasureRoutes(deps),
    ...keyRoutes(deps),
    ...healthRoutes(deps),
    ...pythonClientRoutes(),
    ...descriptionRoutes(deps, () => routes),
    ...dashboardRoutes(deps),
  ]
  return routes
}
