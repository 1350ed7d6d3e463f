"""The papers of the methods, as BibTeX: objectives and regularizers name theirs, and a model card cites those used."""

ALMUDEVAR_2025 = r"""@inproceedings{almudevar2025aligning,
  title     = {Aligning Multimodal Representations through an Information Bottleneck},
  author    = {Almud{\'e}var, Antonio and Hern{\'a}ndez-Lobato, Jos{\'e} Miguel and Khurana, Sameer and
               Marxer, Ricard and Ortega, Alfonso},
  booktitle = {International Conference on Machine Learning},
  year      = {2025}
}"""

DUFUMIER_2025 = """@inproceedings{dufumier2025align,
  title     = {What to align in multimodal contrastive learning?},
  author    = {Dufumier, Benoit and Castillo-Navarro, Javiera and Tuia, Devis and Thiran, Jean-Philippe},
  booktitle = {International Conference on Learning Representations},
  year      = {2025}
}"""

GIRDHAR_2023 = """@inproceedings{girdhar2023imagebind,
  title     = {{ImageBind}: One Embedding Space To Bind Them All},
  author    = {Girdhar, Rohit and El-Nouby, Alaaeldin and Liu, Zhuang and Singh, Mannat and Alwala, Kalyan Vasudev and
               Joulin, Armand and Misra, Ishan},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2023}
}"""

GOEL_2022 = """@inproceedings{goel2022cyclip,
  title     = {{CyCLIP}: Cyclic Contrastive Language-Image Pretraining},
  author    = {Goel, Shashank and Bansal, Hritik and Bhatia, Sumit and Rossi, Ryan A. and Vinay, Vishwa and
               Grover, Aditya},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2022}
}"""

HERMANN_2020 = """@inproceedings{hermann2020what,
  title     = {What shapes feature representations? {E}xploring datasets, architectures, and training},
  author    = {Hermann, Katherine L. and Lampinen, Andrew K.},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2020}
}"""

HU_2022 = """@inproceedings{hu2022lora,
  title     = {{LoRA}: Low-Rank Adaptation of Large Language Models},
  author    = {Hu, Edward J. and Shen, Yelong and Wallis, Phillip and Allen-Zhu, Zeyuan and Li, Yuanzhi and
               Wang, Shean and Wang, Lu and Chen, Weizhu},
  booktitle = {International Conference on Learning Representations},
  year      = {2022}
}"""

JIANG_2023 = """@inproceedings{jiang2023understanding,
  title     = {Understanding and Constructing Latent Modality Structures in Multi-Modal Representation Learning},
  author    = {Jiang, Qian and Chen, Changyou and Zhao, Han and Chen, Liqun and Ping, Qing and Tran, Son Dinh and
               Xu, Yi and Zeng, Belinda and Chilimbi, Trishul},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2023}
}"""

KHOSLA_2020 = """@inproceedings{khosla2020supervised,
  title     = {Supervised Contrastive Learning},
  author    = {Khosla, Prannay and Teterwak, Piotr and Wang, Chen and Sarna, Aaron and Tian, Yonglong and
               Isola, Phillip and Maschinot, Aaron and Liu, Ce and Krishnan, Dilip},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2020}
}"""

LI_2026 = """@misc{li2026ovaib,
  title  = {{OVA-IB}: One vs All Information Bottleneck for Multi-Modal Alignment},
  author = {Li, Tianchao and Yu, Shujian and Zu, Xinrui and Wei, Zhaolong and Gummeson, Jeremy and
            Cheng, Jack C. P. and Jenssen, Robert},
  note   = {arXiv:2605.29900},
  year   = {2026}
}"""

LI_2021 = """@inproceedings{li2021align,
  title     = {Align before Fuse: Vision and Language Representation Learning with Momentum Distillation},
  author    = {Li, Junnan and Selvaraju, Ramprasaath R. and Gotmare, Akhilesh Deepak and Joty, Shafiq and
               Xiong, Caiming and Hoi, Steven},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2021}
}"""

RADFORD_2021 = """@inproceedings{radford2021learning,
  title     = {Learning Transferable Visual Models From Natural Language Supervision},
  author    = {Radford, Alec and Kim, Jong Wook and Hallacy, Chris and Ramesh, Aditya and Goh, Gabriel and
               Agarwal, Sandhini and Sastry, Girish and Askell, Amanda and Mishkin, Pamela and Clark, Jack and
               Krueger, Gretchen and Sutskever, Ilya},
  booktitle = {International Conference on Machine Learning},
  year      = {2021}
}"""
