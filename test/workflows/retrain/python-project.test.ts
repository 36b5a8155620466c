/**
 * Tests that a project in Python goes from a CSV to a served answer. Its one package lies beside the model file, so that no registry is
 * needed; test/examples/python-project.test.ts trains with those that `init` names.
 */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { mkdtemp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { followPythonProject } from '../../support/training/python-project.ts'

/** Writes a tree of LightGBM that splits by the price. */
const train = `def train(job):
    import json

    names = [column.name for column in job.columns]
    price = names.index("unit_price")
    head = f"tree\\nversion=v4\\nnum_class=1\\nnum_tree_per_iteration=1\\nlabel_index=0\\nmax_feature_idx={len(names) - 1}\\nobjective=binary sigmoid:1\\n"
    tree = f"Tree=0\\nnum_leaves=2\\nnum_cat=0\\nsplit_feature={price}\\nsplit_gain=1\\nthreshold=50\\ndecision_type=2\\nleft_child=-1\\nright_child=-2\\nleaf_value=-2 2\\nleaf_weight=1 1\\nleaf_count=1 1\\ninternal_value=0\\ninternal_weight=0\\ninternal_count=2\\nis_linear=0\\nshrinkage=1\\n\\n"
    (job.output / "model.txt").write_text(f"{head}feature_names={' '.join(names)}\\nfeature_infos={' '.join('none' for _ in names)}\\n\\n{tree}end of trees\\n\\nfeature_importances:\\n")
    columns = [{"name": each.name, **({"vocabulary": list(each.values)} if each.kind == "category" else {})} for each in job.columns]
    (job.output / "columns.json").write_text(json.dumps(columns))
    rows = [[n / 2 if name == "unit_price" else "web" if name == "channel" else 1 for name in names] for n in range(200)]
    high, low = 0.8807970779778823, 0.11920292202211755
    answers = [[high if row[price] > 50 else low] for row in rows]
    (job.output / "replay.json").write_text(json.dumps({"columns": names, "rows": rows, "outputs": answers}))
`

/** Makes a source package whose wheel is not built before the file `gate` exists. */
async function heldPackage(folder: string, gate: string): Promise<Buffer> {
  const name = 'held-1.0'
  const metadata = 'Metadata-Version: 2.1\nName: held\nVersion: 1.0\n'
  const files = {
    'PKG-INFO': metadata,
    'pyproject.toml': '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
    'backend.py': `import os, time, zipfile
FILES = {"held.py": "ANSWER = 42\\n", "held-1.0.dist-info/METADATA": ${JSON.stringify(metadata)}, "held-1.0.dist-info/RECORD": "", "held-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"}
def build_wheel(folder, config_settings=None, metadata_directory=None):
    while not os.path.exists(${JSON.stringify(gate)}):
        time.sleep(0.05)
    with zipfile.ZipFile(os.path.join(folder, "held-1.0-py3-none-any.whl"), "w") as wheel:
        for name, text in FILES.items():
            wheel.writestr(name, text)
    return "held-1.0-py3-none-any.whl"
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    os.mkdir(os.path.join(folder, "held-1.0.dist-info"))
    for name, text in FILES.items():
        if "METADATA" in name:
            open(os.path.join(folder, name), "w").write(text)
    return "held-1.0.dist-info"
`,
  }
  await mkdir(join(folder, name))
  for (const [file, text] of Object.entries(files)) await writeFile(join(folder, name, file), text)
  execFileSync('tar', ['-czf', `${name}.tar.gz`, name], { cwd: folder })
  return readFile(join(folder, `${name}.tar.gz`))
}

it('a project in Python is made from a CSV, checked, trained by its own model file with a package whose installation its watch and the log tell, released and served', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tenure-held-'))
  const gate = join(folder, 'gate')
  const place = join(folder, 'prefix')
  const step = 'installing requirements.txt: building held'
  const { predictions } = await followPythonProject({
    edit: (text) =>
      text.replace(
        /def train\(job\):\n[^]*?\n\n\n/,
        () =>
          `${train.replace('import json', `import json, sys\n    import held\n    open(${JSON.stringify(place)}, "w").write(sys.prefix)`)}\n\n`,
      ),
    files: {
      'requirements.txt': '--no-index\n./held-1.0.tar.gz\n',
      'held-1.0.tar.gz': await heldPackage(folder, gate),
    },
    onWatch(said, up) {
      if (said.includes(step) && up.includes(step)) writeFileSync(gate, '')
    },
  })
  // Each run makes an environment of its own in the cache of this machine.
  await rm(await readFile(place, 'utf8'), { recursive: true })
  await rm(folder, { recursive: true })
  const [expensive, cheap] = predictions.map(({ probability }) => probability)
  expect(expensive).toBeCloseTo(0.8808, 4)
  expect(cheap).toBeCloseTo(0.1192, 4)
})
