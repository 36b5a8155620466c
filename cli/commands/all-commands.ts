/** Lists every command of `tenure`, in the sections and the order of `tenure --help`, for the program and the generated reference page. */
import type { CommandGroup, CommandSpec } from '../program.ts'
import { alertsGroup } from './admin/alerts.ts'
import { auditGroup } from './admin/audit.ts'
import { backupCommand } from './admin/backup.ts'
import { restoreCommand } from './admin/restore.ts'
import { batchGroup } from './registry/batch.ts'
import { bundleGroup } from './registry/bundle.ts'
import { releaseCommands, rollbackCommand, signalCommand } from './lifecycle/release-commands.ts'
import { certificatesGroup } from './lifecycle/certificates.ts'
import { codecCommand } from './admin/codec.ts'
import { doctorCommand } from './admin/doctor.ts'
import { drillsGroup } from './lifecycle/drills.ts'
import { featuresGroup } from './registry/features.ts'
import { erasuresGroup } from './admin/erasures.ts'
import { explainCommand } from './registry/explain.ts'
import { exportCommand } from './registry/export.ts'
import { completionCommand } from './project/completion.ts'
import { checkCommand } from './project/check.ts'
import { applyCommand, planCommand } from './project/plan.ts'
import { initCommand } from './project/init.ts'
import { guardGatewayCommand } from './admin/guard-gateway.ts'
import { killSwitchesGroup } from './admin/kill-switches.ts'
import { keysGroup } from './admin/keys.ts'
import { logsCommand } from './admin/logs.ts'
import { modelsGroup } from './registry/models.ts'
import { monitorGroup } from './lifecycle/monitor.ts'
import { openCommand } from './admin/open.ts'
import { policyGroup } from './lifecycle/policy.ts'
import { commandsGroup } from './deferred.ts'
import { releasesGroup } from './lifecycle/releases.ts'
import { resetCommand } from './admin/reset.ts'
import { compressCommand } from './lifecycle/compress.ts'
import { retrainCommand } from './lifecycle/retrain.ts'
import { retrainingsGroup } from './lifecycle/retrainings.ts'
import { upgradeGroup } from './project/upgrade.ts'
import { setupCommand } from './project/setup.ts'
import { simulateCommand } from './lifecycle/simulate.ts'
import { scoreCommand } from './registry/score.ts'
import { statusCommand } from './admin/status.ts'
import { sweepCommand, sweepsGroup } from './lifecycle/sweep.ts'
import { triggersGroup } from './lifecycle/triggers.ts'
import { trialsGroup, tryCommand } from './lifecycle/try.ts'
import { upCommand } from './admin/up.ts'
import { predictionsGroup } from './registry/predictions.ts'
import { reviewsGroup } from './registry/reviews.ts'
import { versionsGroup } from './registry/versions.ts'

/** The commands by the heading of `tenure --help`. */
const sections: Readonly<Record<string, readonly (CommandSpec | CommandGroup)[]>> = {
  Operate: [
    upCommand,
    statusCommand,
    openCommand,
    logsCommand,
    alertsGroup,
    rollbackCommand,
    killSwitchesGroup,
    guardGatewayCommand,
    monitorGroup,
    drillsGroup,
    doctorCommand,
  ],
  Release: [
    releasesGroup,
    ...releaseCommands,
    signalCommand,
    commandsGroup,
    policyGroup,
    simulateCommand,
    certificatesGroup,
  ],
  Train: [
    retrainCommand,
    retrainingsGroup,
    compressCommand,
    tryCommand,
    trialsGroup,
    sweepCommand,
    sweepsGroup,
    triggersGroup,
    modelsGroup,
    versionsGroup,
    scoreCommand,
    bundleGroup,
    exportCommand,
  ],
  Data: [featuresGroup, batchGroup, predictionsGroup, explainCommand, reviewsGroup, erasuresGroup],
  Project: [initCommand, setupCommand, checkCommand, planCommand, applyCommand, upgradeGroup],
  Admin: [
    keysGroup,
    auditGroup,
    codecCommand,
    backupCommand,
    restoreCommand,
    resetCommand,
    completionCommand(() => commands),
  ],
}

export const commands: readonly (CommandSpec | CommandGroup)[] = Object.entries(sections).flatMap(
  ([section, specs]) => specs.map((spec) => ({ ...spec, section })),
)
