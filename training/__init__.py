"""How davy's small models are made: corpus → tokenizer → rows → train → model_card, each a file and a command.

    python -m training.corpus --out davy/models
    python -m training.train --name stdlib-a --seed 1 --steps STEPS --out davy/models/stdlib-a
    python -m training.train --name stdlib-b --seed 2 --steps STEPS --out davy/models/stdlib-b
    python -m training.train --name stdlib-weak --seed 3 --steps 400 --shape weak --out davy/models/stdlib-weak
    python -m training.model_card

It needs the extra `torch`, and is not installed with davy. The commands with the numbers used stand in
davy/models/README.md. It imports davy.tasks.rename and davy.models, and nothing imports it but its tests.
"""
