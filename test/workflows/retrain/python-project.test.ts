/**
 * Tests that a project in Python goes from a CSV to a served answer. It trains without packages, so that no registry is needed;
 * test/examples/python-project.test.ts trains with those that `init` names.
 */
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

it('a project in Python is made from a CSV, checked, trained by its own model file, released and served', async () => {
  const { predictions } = await followPythonProject((text) =>
    text
      .replace(/def train\(job\):\n[^]*?\n\n\n/, () => `${train}\n\n`)
      .replace('train=python(train, requirements="requirements.txt")', 'train=train'),
  )
  const [expensive, cheap] = predictions.map(({ probability }) => probability)
  expect(expensive).toBeCloseTo(0.8808, 4)
  expect(cheap).toBeCloseTo(0.1192, 4)
})
